"""The patrol: which connections it ends and when, and which children it kills."""

from __future__ import annotations

import math
from collections.abc import Iterator
from signal import SIGKILL, SIGTERM
from types import SimpleNamespace
from typing import Any

import pytest
from stage import ALICE, BOB, MadeUpChild, Server, connection

from upperd.server import hearing, patrol
from upperd.server.dispatcher import WaitingQueue
from upperd.server.layout import ACTIVE, ENDING, Outcome
from upperd.server.limits import Limits
from upperd.server.patrol import CUT_SECONDS, GRACE_SECONDS, IDLE_SECONDS, LOOK_SECONDS, START_SECONDS, Patrol
from upperd.server.roster import Roster
from upperd.server.scoreboard import Scoreboard

START = 1000.0


class Stage:
    """A patrol, a simulated clock, and what was done to which child."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = START
        self.board = Scoreboard(slots=20)
        self.roster = Roster()
        self.limits = Limits(20, 2, 20, 20)
        self.children: list[MadeUpChild] = []
        self.let: list[object] = []
        self.reaped: list[object] = []
        self.repaired: list[bool] = []
        self.sent: list[tuple[object, int]] = []
        self.cuts: list[tuple[float, int]] = []
        self.server: Any = Server()
        self.population = self
        self.loop = SimpleNamespace(timers=[])
        parent: Any = self
        self.reap = self.reaped.append
        self.queue = WaitingQueue(self.board, self.limits)
        self.observer = SimpleNamespace(
            scoreboard_overwritten=lambda: self.repaired.append(True),
            deadline_passed=lambda left: self.cuts.append((self.now, left)),
        )
        self.patrol = Patrol(parent)
        for module in (patrol, hearing):
            monkeypatch.setattr(module, "send_signal", lambda child, number: self.sent.append((child, number)))
        monkeypatch.setattr(patrol, "now_usec", lambda: int(self.now * 1e6))

    def __iter__(self) -> Iterator[MadeUpChild]:
        return iter(self.children)

    def let_go(self, child: MadeUpChild) -> None:
        """As the population's."""
        self.let.append(child)
        if child.connection is None:
            self.roster.remove(child)

    def busy(self, uid: int = ALICE, *, has_started: bool = True) -> MadeUpChild:
        """A child that serves."""
        child = MadeUpChild(self.board)
        self.children.append(child)
        self.roster.begin(child, self.roster.user(uid), connection(self.server, uid), self.now, tells=False)
        child.connected_usec = child.row[ACTIVE] = int(self.now * 1e6)
        if has_started:
            child.starts()
        return child

    def moves(self, child: MadeUpChild) -> None:
        """Let data move on its connection."""
        child.row[ACTIVE] = int(self.now * 1e6)

    def at(self, seconds: float) -> list[tuple[object, int]]:
        """Turn at this many seconds after the start; return the signals that are sent in that turn."""
        self.now, before = START + seconds, len(self.sent)
        self.patrol.turn(self.now)
        return self.sent[before:]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A patrol without a child."""
    stage = Stage(monkeypatch)
    yield stage
    for child in stage.children:
        child.close()


def test_it_looks_while_a_child_serves(stage: Stage) -> None:
    """While a child serves the patrol looks twice a second; otherwise it sets no timer."""
    assert stage.patrol.turn(START) is None
    child = stage.busy()
    assert stage.patrol.turn(START + 1) == START + 1 + LOOK_SECONDS
    child.finishes()
    assert stage.patrol.turn(START + 2) is None
    assert LOOK_SECONDS == 0.5


@pytest.mark.parametrize("limit", ["idle_timeout", "max_lifetime"])
def test_limits_of_time(stage: Stage, limit: str) -> None:
    """At its limit a connection is ended by SIGTERM, its place says why, and it is counted, once."""
    setattr(stage.limits, limit, 10.0)
    child = stage.busy()
    outcome = Outcome.IDLE if limit == "idle_timeout" else Outcome.LIFETIME
    assert stage.at(9.9) == []
    if limit == "max_lifetime":
        stage.moves(child)
    assert stage.at(10.4) == [(child, SIGTERM)]
    assert child.place[ENDING] == outcome
    assert stage.at(11) == [(child, SIGTERM)]  # the first signal may have come too early
    assert stage.board[f"ended_{outcome.name.lower()}"] == 1


def test_what_moves_is_not_idle(stage: Stage) -> None:
    """A connection with moving data is never idle."""
    stage.limits.idle_timeout = 10.0
    child = stage.busy()
    for second in range(1, 100, 3):
        assert stage.at(second) == []
        stage.moves(child)


def test_what_has_not_ended_is_killed(stage: Stage) -> None:
    """A child that has not ended after its grace period is killed as overdue."""
    stage.limits.max_lifetime = 1.0
    child = stage.busy()
    stage.at(1)
    assert stage.at(GRACE_SECONDS + 0.9) == [(child, SIGTERM)]
    assert (child, SIGKILL) in stage.at(GRACE_SECONDS + 1.5)
    assert child.killed_for == "overdue"


def test_what_has_ended_is_left_alone(stage: Stage) -> None:
    """A child that has finished in time is sent nothing more."""
    stage.limits.max_lifetime = 1.0
    child = stage.busy()
    stage.at(1)
    child.finishes()
    assert [stage.at(seconds) for seconds in (2, GRACE_SECONDS, GRACE_SECONDS + 2)] == [[], [], []]
    assert (stage.roster.waiting(), child.killed_for) == ([child], "")


def test_a_child_that_does_not_begin(stage: Stage) -> None:
    """A child that has not begun to serve after a second is killed as stopped, whatever the limits are."""
    stage.limits.max_lifetime = 0.1
    child = stage.busy(has_started=False)
    assert [stage.at(seconds) for seconds in (0, 0.5, START_SECONDS - 0.1)] == [[], [], []]
    assert stage.at(START_SECONDS + 0.4) == [(child, SIGKILL)]
    assert child.killed_for == "stopped"


def test_a_parent_that_was_stopped_itself(stage: Stage) -> None:
    """A parent that was stopped with its children gives each the full time again when it goes on."""
    child = stage.busy(has_started=False)
    stage.at(0)
    assert [stage.at(1000 + seconds) for seconds in (0, 0.5, 0.9)] == [[], [], []]
    assert stage.at(1001.4) == [(child, SIGKILL)]


def test_idle_children_leave(stage: Stage) -> None:
    """Idle children of users exit, the longest idle first, until `spare_children` of them are left."""
    for second, uid in enumerate((ALICE, ALICE, BOB, ALICE)):
        child = stage.busy(uid)
        child.finishes()
        stage.roster.look_at_all()
        child.idle_since = START + second
    assert stage.patrol.turn(START + 5) == START + IDLE_SECONDS
    stage.at(IDLE_SECONDS)
    assert stage.let == stage.children[:1]
    stage.at(1000)
    assert stage.let == stage.children[:2]
    assert stage.roster.waiting() == stage.children[2:]


def test_children_that_left_a_process_behind(stage: Stage) -> None:
    """Each look tries to reap every child, since one that left a process behind causes no end of file."""
    child = stage.busy()
    stage.at(1)
    assert stage.reaped == [child]


def test_a_scoreboard_that_was_written_over(stage: Stage) -> None:
    """A scoreboard that was overwritten is repaired at the next look, and that is reported."""
    stage.busy()
    stage.board.header[0] = 0
    stage.at(1)
    stage.at(2)
    assert stage.repaired == [True]


# A drain


def test_a_drain_ends_what_is_quiet(stage: Stage) -> None:
    """During a drain a connection without data for a second is ended, and an active one is not."""
    quiet, moving = stage.busy(), stage.busy()
    stage.patrol.begin_drain(START + 30)
    for tenth in range(1, 10):
        assert stage.at(tenth / 10) == []
        stage.moves(moving)
    assert stage.at(1.1) == [(quiet, SIGTERM)]
    assert (quiet.place[ENDING], moving.place[ENDING]) == (Outcome.QUIET, 0)


def test_a_drain_cuts_and_kills(stage: Stage) -> None:
    """At the deadline everything is cut, except connections that have not begun; later all that is left is killed."""
    cut, waiting = stage.busy(), stage.busy(has_started=False)
    waiting.handed_at = START + 3.5
    stage.patrol.begin_drain(START + 3)
    stage.at(0.5)
    stage.moves(cut)
    stage.now = START + 3
    assert (cut, SIGTERM) in stage.at(3)
    assert (stage.cuts, cut.place[ENDING]) == ([(START + 3, 2)], Outcome.CUT)
    assert (waiting.place[ENDING], waiting.kill_at) == (0, START + 3 + CUT_SECONDS)
    assert (cut, SIGKILL) not in stage.at(3 + CUT_SECONDS - 0.1)
    assert {(cut, SIGKILL), (waiting, SIGKILL)} <= {*stage.at(3 + CUT_SECONDS)}
    assert cut.killed_for == "killed"
    assert len(stage.cuts) == 1


def test_a_hastened_drain(stage: Stage) -> None:
    """A hastened drain cuts at once."""
    child = stage.busy()
    stage.patrol.hasten(START)  # there is none
    stage.patrol.begin_drain(math.inf)
    assert stage.at(0.1) == []
    stage.patrol.hasten(START + 0.2)
    stage.patrol.hasten(START + 0.25)
    assert stage.at(0.3) == [(child, SIGTERM)]
    assert child.place[ENDING] == Outcome.CUT
    assert child.kill_at == START + 0.2 + CUT_SECONDS
