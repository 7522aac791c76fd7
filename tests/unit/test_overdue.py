"""Whom the parent kills for a limit, and whom it never does."""

from __future__ import annotations

import signal

import pytest

from upperd.server.children import Living
from upperd.server.layout import (
    ACTIVE,
    BYTES,
    CLAIMED,
    DENIED,
    ENDED_ACCESS,
    ENDED_BYTES,
    EXPIRES,
    IDLE_LIMIT,
    OUTCOME,
    PASSED,
    RULES,
    WAITING,
)
from upperd.server.scoreboard import Scoreboard
from upperd.server.slot import Slot
from upperd.service import overdue


class _Looked:
    """A child and its parent's look-out, in a time of our own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.killed: list[signal.Signals] = []
        monkeypatch.setattr(overdue, "send", lambda number, children: self.killed.append(number))
        self.board = Scoreboard(slots=2)
        self.index, self.slot = self.board.claim(0, WAITING)
        self.child = Living(1, self.index, None)  # type: ignore[arg-type]
        self.overdue = overdue.Overdue(self.board, [self.child])
        self.overdue.is_on = True

    def is_killed(self) -> bool:
        """Whether it is, within ten seconds."""
        self.killed.clear()
        for _ in range(10):
            self.now += 1.0
            self.overdue.turn(self.now)
        return bool(self.killed)


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> _Looked:
    return _Looked(monkeypatch)


def _serve(looked: _Looked) -> None:
    looked.slot.take(1000)
    looked.slot.connected(1000, 1000, 1)


@pytest.mark.parametrize("field", [IDLE_LIMIT, EXPIRES])
def test_beyond_a_limit(looked: _Looked, field: int) -> None:
    """A child that serves beyond a limit of its connection is killed."""
    _serve(looked)
    assert not looked.is_killed()
    looked.slot.words[ACTIVE] = looked.slot.words[field] = 1
    assert looked.is_killed()
    assert looked.child.is_overdue


def test_judged_by_old_rules(looked: _Looked) -> None:
    """A child that does not look at new rules is killed."""
    _serve(looked)
    looked.board["rules"] = 1
    assert looked.is_killed()


def test_stopped_while_it_waited(looked: _Looked) -> None:
    """A child that was stopped while it waited is not killed for what its last connection left, or for old rules."""
    _serve(looked)
    looked.slot.words[ACTIVE] = looked.slot.words[IDLE_LIMIT] = looked.slot.words[EXPIRES] = 1
    looked.slot.words[OUTCOME] = BYTES
    looked.slot.wait()
    looked.board["rules"] = 1
    looked.slot.set_busy()
    assert not looked.is_killed()


def test_hands_its_connection_on(looked: _Looked) -> None:
    """A child that waits for the parent to take a connection over is not killed: the connection would be lost."""
    _serve(looked)
    looked.slot.words[ACTIVE] = looked.slot.words[IDLE_LIMIT] = looked.slot.words[EXPIRES] = 1
    looked.slot.wait()
    looked.slot.take(1001)
    looked.slot.words[OUTCOME] = PASSED
    looked.board["rules"] = 1
    assert looked.slot.words[CLAIMED]
    assert looked.slot.words[RULES] != looked.board["rules"]
    assert not looked.is_killed()


def test_end_is_counted_once() -> None:
    """A connection that meets two limits on its way out is counted as ended by the first."""
    board = Scoreboard(slots=1)
    _, slot = board.claim(0, WAITING)
    assert isinstance(slot, Slot)
    slot.connected(1000, 1000, 1)
    for outcome in (DENIED, BYTES, DENIED):
        slot.end_at_limit(outcome)
    assert (slot.words[OUTCOME], slot.words[ENDED_ACCESS], slot.words[ENDED_BYTES]) == (DENIED, 1, 0)
