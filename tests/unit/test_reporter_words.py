"""The reporter's entries about rare events: one each, with its event."""

from collections.abc import Callable

import pytest
from reporting import Stage

from upperd.server.layout import UNKNOWN
from upperd.service.reporter import Reporter

RARE: dict[str, tuple[str, Callable[[Reporter], object]]] = {
    "a connection of uid 5 was closed: no child began to serve it": ("lost", lambda x: x.given_up(5)),
    "a connection of unknown peer was closed: no child": ("lost", lambda x: x.given_up(UNKNOWN)),
    "the drain deadline has passed: 1 connection is cut": ("cut", lambda x: x.deadline_passed(1)),
    "the drain deadline has passed: 3 connections are cut": ("cut", lambda x: x.deadline_passed(3)),
    "children serve again": ("resume", lambda x: x.resumed()),
}


@pytest.mark.parametrize("text", RARE)
def test_words(text: str) -> None:
    """A connection that is given up is an entry with its user; the end of a pause is another one."""
    stage = Stage()
    event, happens = RARE[text]
    happens(stage.reporter)
    [(_, found, said, _)] = stage.log.entries
    assert found == event
    assert said.startswith(text)


def test_manager_that_takes_nothing() -> None:
    """A manager that takes no messages is reported once."""
    stage = Stage(watchdog_usec=1)
    stage.manager.works = False
    for now in 1.0, 2.0, 3.0:
        stage.reporter.turn(now)
    assert [said for _, event, said, _ in stage.log.entries if event == "notify"] == [
        "the service manager takes no messages: trying again until it does"
    ]
