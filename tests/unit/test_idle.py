"""Idleness: the parent is stopped after its idle time, and any activity restarts the time."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from upperd.server.layout import CONNECTIONS
from upperd.server.scoreboard import Scoreboard
from upperd.service.idle import IdleExit

START = 1000.0
SECONDS = 10.0


class Stage:
    """An `IdleExit` with a scoreboard, and a parent that counts how often it was stopped."""

    def __init__(self) -> None:
        self.board = Scoreboard(slots=4)
        self.stopped = 0
        self.roster = SimpleNamespace(busy=0)
        self.queue: list[object] = []
        self.loop = SimpleNamespace(now=START)
        parent: Any = self
        self.idle = IdleExit(parent)
        self.idle.seconds = SECONDS
        assert self.idle.turn(START) == START + SECONDS

    def stop(self) -> None:
        """As the parent's."""
        self.stopped += 1


@pytest.fixture
def stage() -> Stage:
    """A daemon that has just begun."""
    return Stage()


def test_leaves_after_its_time(stage: Stage) -> None:
    """The parent is stopped after the time without activity, not before, and again after that time."""
    assert stage.idle.turn(START + SECONDS - 0.1) == START + SECONDS
    assert stage.stopped == 0
    assert stage.idle.turn(START + SECONDS) == START + 2 * SECONDS
    stage.idle.turn(START + 2 * SECONDS)
    assert stage.stopped == 2


def test_never(stage: Stage) -> None:
    """Without the setting the parent is never stopped, and no timer is set."""
    stage.idle.seconds = 0.0
    assert stage.idle.turn(START + 1e6) is None
    assert stage.stopped == 0


@pytest.mark.parametrize("kept_by", ["busy", "queue", "connections", "refused"])
def test_whatever_is_done_begins_the_time_anew(stage: Stage, kept_by: str) -> None:
    """Each of these counts as activity: a busy child, a waiting connection, one that is over, and a refused one."""
    if kept_by == "busy":
        stage.roster.busy = 1
    elif kept_by == "queue":
        stage.queue.append(object())
    elif kept_by == "connections":
        stage.board.claim()[2][CONNECTIONS] = 1
    else:
        stage.board.add("refused")
    assert stage.idle.turn(START + SECONDS) == START + 2 * SECONDS
    assert stage.stopped == 0


def test_the_end_of_a_child_changes_nothing(stage: Stage) -> None:
    """A child's connections count once, not again when the child ends."""
    slot, _, row = stage.board.claim()
    row[CONNECTIONS] = 1
    stage.idle.turn(START + 1)
    stage.board.release(slot)
    assert stage.idle.turn(START + 5) == START + 1 + SECONDS
