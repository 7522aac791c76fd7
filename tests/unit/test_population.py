"""The population: a child that has ended is reaped, and handed nothing more."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from signal import SIGKILL
from typing import Any

import pytest
from stage import ALICE, Server, connection

from upperd.server import handover
from upperd.server.exits import ExitRecord, Observer
from upperd.server.layout import CONNECTIONS, ROW_FIELDS, UNKNOWN
from upperd.server.parent import Parent
from upperd.server.roster import Child


class _Observer(Observer):
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.records: list[ExitRecord] = []
        self.pauses: list[str] = []

    def child_ended(self, record: ExitRecord) -> None:
        """Keep it."""
        self.records.append(record)

    def throttled(self, reason: str, pause: float) -> None:
        """Keep it."""
        self.pauses.append(reason)


class Stage:
    """A parent whose child is another program, and that child's end of the channel."""

    def __init__(self, program: str) -> None:
        self.observer = _Observer()
        self.parent = Parent(observer=self.observer)
        ours, self.theirs = handover.channel()
        self.process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
        self.child = Child(self.process.pid, *self.parent.board.claim(), ours, 0)
        self.parent.board.born(self.child.slot, self.child.pid)
        self.parent.population._children[self.child] = None
        self.parent.roster.spares(0).append(self.child)
        self.parent.loop.watch(ours.fileno(), partial(self.parent.population._heard, self.child))

    def is_handed(self) -> None:
        """Hand the child a connection, which it begins to serve."""
        server: Any = Server()
        self.parent.roster.spares(0).remove(self.child)
        user = self.parent.roster.user(ALICE)
        self.parent.roster.begin(self.child, user, connection(server, ALICE), 0.0, tells=True)
        self.child.row[CONNECTIONS] = self.child.handed

    def reap(self) -> ExitRecord:
        """Let the child end, and turn until it was reaped; return its record."""
        os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        self.theirs.close()
        while self.parent.pids():
            self.parent.turn(10)
        [record] = self.observer.records
        return record


@pytest.fixture
def begin() -> Iterator[Callable[[str], Stage]]:
    """A function that makes the stage, whose child runs this program."""
    stages: list[Stage] = []

    def make(program: str) -> Stage:
        stages.append(Stage(program))
        return stages[-1]

    yield make
    for stage in stages:
        stage.theirs.close()
        with stage.process:
            stage.process.kill()
        stage.parent.close()


Begin = Callable[[str], Stage]
WAITS = "input()"


def test_a_child_whose_channel_has_ended_is_handed_nothing(begin: Begin) -> None:
    """A spare child that has closed its channel is no longer spare, even before it can be reaped."""
    stage = begin(WAITS)
    stage.theirs.close()
    stage.parent.turn(10)
    assert (stage.parent.roster.spares(0), stage.parent.pids()) == ([], {stage.process.pid})
    stage.process.kill()
    stage.reap()
    assert stage.parent.board["ended"] == 1


@pytest.mark.parametrize("is_heard", [True, False])
@pytest.mark.parametrize("is_read", [True, False])
def test_what_a_child_has_not_read(begin: Begin, is_heard: bool, is_read: bool) -> None:
    """The parent knows whether a child that ended had read its first order; if not, forking pauses."""
    stage = begin(WAITS)
    stage.parent.limits.max_children = 0  # it forks no other
    handover.send(stage.child.control, handover.Order(0, "", ALICE, (ALICE, ALICE, 1)), 0)
    if is_read:
        [*_, descriptor] = handover.receive(stage.theirs) or ()
        os.close(descriptor)
    stage.is_handed()
    stage.child.row[CONNECTIONS] = 0
    stage.process.kill()
    os.waitid(os.P_PID, stage.process.pid, os.WEXITED | os.WNOWAIT)
    stage.theirs.close()
    if is_heard:
        stage.parent.turn(10)
    else:
        assert stage.parent.population.reap(stage.child)
    assert stage.child.has_unread is not is_read
    assert len(stage.observer.pauses) == int(not is_read)


def test_a_child_that_tells_too_often(begin: Begin) -> None:
    """A child that reports more connections than it was handed is killed for it, and counted as crashed."""
    stage = begin(WAITS)
    stage.is_handed()
    handover.tell(stage.theirs)
    stage.parent.turn(10)
    assert (stage.child.told, stage.child.killed_for) == (1, "")
    handover.tell(stage.theirs)
    stage.parent.turn(10)
    record = stage.reap()
    assert (record.killed_for, record.status) == ("unruly", SIGKILL)
    assert (stage.parent.board["crashed"], stage.parent.board["stopped"]) == (1, 0)
    assert stage.observer.pauses == []  # the child was handed something: forking works


def test_the_first_word_of_a_child_that_gets_ready(begin: Begin) -> None:
    """The report that a handler's start_child has returned is not one of a connection; the next one is."""
    stage = begin(WAITS)
    stage.child.ready_by = math.inf
    handover.tell(stage.theirs)
    stage.parent.turn(10)
    assert (stage.child.ready_by, stage.child.told, stage.child.killed_for) == (0, 0, "")
    handover.tell(stage.theirs)
    stage.parent.turn(10)
    assert stage.reap().killed_for == "unruly"


@pytest.mark.parametrize("status", [0, 1])
@pytest.mark.parametrize("lie", [0, 1])
def test_a_child_that_ends_before_its_first_connection(begin: Begin, status: int, lie: int) -> None:
    """Forking pauses if a child ends unasked before it was handed anything, whatever its status and its row say."""
    stage = begin(f"import sys; sys.exit({status})")
    stage.child.row[CONNECTIONS] = lie
    record = stage.reap()
    assert stage.observer.pauses == [f"child {record.pid}: it ended before its first connection"]
    assert stage.parent.board["crashed"] == status


@pytest.mark.parametrize("how", ["asked", "handed", "not forking"])
def test_a_child_that_may_end(begin: Begin, how: str) -> None:
    """Forking does not pause if a child was told to leave, or was handed something, or during a stop."""
    stage = begin("import sys; sys.exit(1)")
    if how == "asked":
        stage.parent.population.let_go(stage.child)
    elif how == "handed":
        stage.is_handed()
        stage.child.row[ROW_FIELDS.index("bytes_in")] = UNKNOWN
    else:
        stage.parent.population.is_forking = False
    stage.reap()
    assert stage.observer.pauses == []
