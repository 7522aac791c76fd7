"""The record of a child's end, and the limits."""

from __future__ import annotations

from signal import SIGKILL, SIGSEGV, SIGTERM
from typing import Any

import pytest
from stage import ALICE, MadeUpChild, Server, connection

from upperd.server.exits import ExitRecord, Observer
from upperd.server.layout import FAILURE, OUTCOME, UNKNOWN, Outcome
from upperd.server.limits import Limits, seven_eighths
from upperd.server.scoreboard import Scoreboard

COUNTERS = ("crashed", "cut", "killed", "overdue", "stopped")


def counted(status: int | None, killed_for: str = "", ending: int = 0) -> str:
    """The counter for the end of a child, besides that of all ends; empty if there is none."""
    board = Scoreboard(slots=1)
    child = MadeUpChild(board)
    child.killed_for = killed_for
    child.end_as(Outcome(ending))
    record = ExitRecord(child, status, None)
    child.close()
    record.count(board)
    assert board["ended"] == 1
    found = [name for name in COUNTERS if board[name]]
    assert sum(board[name] for name in COUNTERS) == len(found) <= 1
    return "".join(found)


@pytest.mark.parametrize(
    ("status", "killed_for", "ending", "name"),
    [
        (0, "", 0, ""),
        (None, "", 0, ""),
        (SIGSEGV, "", 0, "crashed"),
        (70 << 8, "", 0, "crashed"),
        (SIGKILL, "", 0, "crashed"),
        (SIGKILL, "overdue", Outcome.IDLE, "overdue"),
        (SIGKILL, "stopped", 0, "stopped"),
        (SIGKILL, "killed", Outcome.CUT, "killed"),
        (SIGKILL, "unruly", 0, "crashed"),
        (0, "", Outcome.CUT, "cut"),
        (SIGTERM, "", Outcome.CUT, "cut"),
        (0, "killed", Outcome.CUT, "cut"),
        (0, "overdue", 0, ""),
        (SIGSEGV, "stopped", 0, "crashed"),
    ],
)
def test_an_end_is_counted_once(status: int | None, killed_for: str, ending: int, name: str) -> None:
    """An end is counted for one reason; as our kill only if it was our SIGKILL that ended the child."""
    assert counted(status, killed_for, ending=ending) == name


def test_what_a_child_cannot_lie_about() -> None:
    """The parent's data decides a record's user, begin and reason for the end, whatever the child's row says.

    The child's figures are from the row, and how it ended, unless the parent ended the connection.
    """
    child = MadeUpChild(Scoreboard(slots=1))
    child.row[: FAILURE // 8] = memoryview(bytes(FAILURE - 8) + b"\xff" * 8).cast("Q")
    spare = ExitRecord(child, 0, None)
    assert (spare.was_handed, spare.peer[0], spare.began_usec) == (False, UNKNOWN, child.started_usec)
    server: Any = Server()
    child.hand(connection(server, ALICE), ALICE, tells=False)
    child.row[OUTCOME] = Outcome.DONE
    assert ExitRecord(child, 0, None).outcome == "done"
    child.row[OUTCOME] = UNKNOWN
    assert ExitRecord(child, 0, None).outcome == "unknown"
    child.end_as(Outcome.IDLE)
    child.place[:] = memoryview(b"\x01" * child.place.nbytes).cast("Q")  # for other readers: the parent does not use it
    record = ExitRecord(child, SIGKILL, None)
    child.close()
    assert (record.was_handed, record.peer, record.began_usec) == (True, (ALICE, ALICE, 1), child.connected_usec)
    assert (record.outcome, record.row[OUTCOME]) == ("idle", UNKNOWN)


def test_an_observer_may_do_nothing() -> None:
    """The default observer of a program ignores every event."""
    observer = Observer()
    observer.throttled("fork", 0.1)
    observer.resumed()
    observer.accept_failed(OSError(), 0.1)
    observer.refused(1, "refused_user")
    observer.given_up(1)
    observer.scoreboard_overwritten()
    observer.deadline_passed(1)


# Limits


@pytest.mark.parametrize(
    ("idle", "lifetime", "active", "connected", "now", "reached"),
    [
        (0, 0, 0, 0, 1e9, None),
        (5, 0, 10, 10, 14.9, None),
        (5, 0, 10, 10, 15, Outcome.IDLE),
        (5, 0, 10, 12, 16, None),
        (0, 5, 14, 10, 15, Outcome.LIFETIME),
        (5, 5, 10, 10, 15, Outcome.LIFETIME),
        (5, 0, 1e12, 10, 15, None),
    ],
)
def test_limits_of_time(
    idle: float, lifetime: float, active: float, connected: float, now: float, reached: Outcome | None
) -> None:
    """A connection is idle from its last byte, or from its hand-over; its lifetime counts from the hand-over."""
    limits = Limits(1, 1, 1, 1)
    limits.idle_timeout, limits.max_lifetime = idle, lifetime
    assert limits.reached(int(active * 1e6), int(connected * 1e6), int(now * 1e6)) == reached


@pytest.mark.parametrize(("most", "share"), [(1, 1), (2, 1), (7, 6), (8, 7), (64, 56), (4096, 3584)])
def test_seven_eighths(most: int, share: int) -> None:
    """One user alone never gets every child if there are two or more, and always gets at least one."""
    assert seven_eighths(most) == share
