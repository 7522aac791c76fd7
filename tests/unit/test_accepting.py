"""Accepting works in small batches, past errors of single connections, and pauses when nothing can be accepted."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from upperd.server import accepting
from upperd.server.accepting import BATCH, MOST_IN_VAIN, Accepter
from upperd.server.exits import Observer
from upperd.server.limits import FIRST_PAUSE
from upperd.server.loop import Loop


class Queue:
    """Stands for the queue."""

    is_full = False


class Stage(Observer):
    """A server whose accepts end as the test says, and its accepter, which is on."""

    def __init__(self) -> None:
        self.reading, self.writing = socket.socketpair()
        self.writing.send(b"x")  # as a listener with a queue: readable until it is read
        self.loop = Loop()
        self.queue: Any = Queue()
        self.failed: list[OSError] = []
        self.freed: list[int] = []
        self.observer = self.population = self
        self.servers = [self]
        parent: Any = self
        self.accepter = Accepter(parent)
        self.accepter._tries = accepting.BATCH  # as under load
        self.accepter.is_on = True
        self.accepter.adjust()
        self.results: list[int | bool] = []
        self.accepts = 0

    def dismiss(self, most: int) -> None:
        """As the population's."""
        self.freed.append(most)

    def accept_failed(self, error: OSError, pause: float) -> None:
        """As the observer's."""
        assert pause > 0
        self.failed.append(error)

    def fileno(self) -> int:
        """As the listener's."""
        return self.reading.fileno()

    def accept_one(self) -> bool:
        """As the hook; raises an OSError for an errno in `results`."""
        self.accepts += 1
        result = self.results.pop(0) if self.results else True
        if isinstance(result, bool):
            return result
        raise OSError(result, "as told")

    def turn(self) -> int:
        """Turn the loop once; return how many accepts were tried in it."""
        before = self.accepts
        self.loop.turn(0)
        self.accepter.adjust()
        return self.accepts - before


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A listener with more in its queue than any test takes."""
    stage = Stage()
    yield stage
    stage.loop.close()
    stage.reading.close()
    stage.writing.close()


def test_batches(stage: Stage) -> None:
    """A flood is taken in small batches, and accepting stops when the queue is empty."""
    assert [stage.turn() for _ in range(3)] == [BATCH] * 3
    stage.results = [True, False]
    assert stage.turn() == 2


@pytest.mark.parametrize(
    "name",
    ["ECONNABORTED", "EPERM", "EPROTO", "ENOPROTOOPT", "ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH",
     "ENONET", "EOPNOTSUPP"],
)  # fmt: skip
def test_an_error_of_one_connection(stage: Stage, name: str) -> None:
    """An error of one connection (accept(2) lists them) stops no other from being accepted, and is not reported."""
    stage.results = [getattr(errno, name), True, False]
    assert stage.turn() == 3
    assert stage.failed == []


def test_an_error_of_every_connection(stage: Stage) -> None:
    """64 such errors in a row are a failure of accept() itself, such as EPERM in a sandbox."""
    stage.results = [errno.EPERM] * 1000
    while not stage.failed:
        assert stage.accepts < MOST_IN_VAIN
        stage.turn()
    assert stage.accepts == MOST_IN_VAIN
    assert stage.turn() == 0
    while stage.accepts == MOST_IN_VAIN:
        stage.loop.turn(10)
        stage.accepter.adjust()
    assert stage.accepts == MOST_IN_VAIN + 1
    assert len(stage.failed) == 2


@pytest.mark.parametrize("name", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EINVAL"])
def test_nothing_to_accept_with(stage: Stage, name: str) -> None:
    """A failure to accept is reported once, and the listener is left alone for a moment, then tried again."""
    stage.results = [getattr(errno, name)]
    assert [stage.turn() for _ in range(4)] == [1, 0, 0, 0]
    assert [error.errno for error in stage.failed] == [getattr(errno, name)]
    assert stage.freed == [1]
    while not stage.accepts > 1:
        stage.loop.turn(10)
        stage.accepter.adjust()
    assert stage.accepts == 1 + BATCH


def test_pauses_are_short_again_after_a_success(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing can be accepted the pauses grow; after a success the next pause is short again."""
    now = 1000.0
    stage.accepter._turn(now)
    pauses = []
    for results in ([errno.EMFILE], [errno.EMFILE], [True, errno.EMFILE]):
        stage.loop.now = now
        stage.results = list(results)
        stage.accepter._accept(stage)  # type: ignore[arg-type]
        until = stage.accepter._turn(now)
        assert until is not None
        pauses.append(round(until - now, 6))
        now = until
        assert stage.accepter._turn(now) is None
    assert pauses == [FIRST_PAUSE, 2 * FIRST_PAUSE, FIRST_PAUSE]


def test_a_full_queue(stage: Stage) -> None:
    """With a full queue accepting stops, even within a batch, so the kernel queues; with room it goes on."""
    stage.results = [True, True]
    accept_one = stage.accept_one

    def fill() -> bool:
        stage.queue.is_full = stage.accepts == 1
        return accept_one()

    stage.accept_one = fill  # type: ignore[method-assign]
    assert [stage.turn() for _ in range(3)] == [2, 0, 0]
    stage.queue.is_full = False
    stage.accepter.adjust()
    assert stage.turn() == BATCH


def test_stop(stage: Stage) -> None:
    """After `stop`, even if called while a connection is accepted, nothing more is accepted."""
    accept_one = stage.accept_one

    def stop() -> bool:
        stage.accepter.stop()
        return accept_one()

    stage.accept_one = stop  # type: ignore[method-assign]
    assert [stage.turn() for _ in range(2)] == [1, 0]


def test_as_many_tries_as_were_right(stage: Stage) -> None:
    """The parent tries as many accepts as succeeded the last time, and twice as many if all tries succeeded."""
    stage.accepter._tries = 1
    tries = []
    for came in (1, 2, 4, 1, 0):
        stage.results = [True] * came + [False] * accepting.BATCH
        before = stage.accepts
        stage.accepter._accept(stage)
        tries.append(stage.accepts - before)
    assert tries == [1, 2, 4, 2, 1]
