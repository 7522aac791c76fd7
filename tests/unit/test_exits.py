"""The promises of an exit's record, and of limits."""

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
    """As what the end of a child is counted, besides that it ended; empty: as nothing."""
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
    """An end is counted for one reason: that we killed it counts only where our SIGKILL was what ended it."""
    assert counted(status, killed_for, ending=ending) == name


def test_what_a_child_cannot_lie_about() -> None:
    """A record has the parent's word of whom a child served, since when, and why it ended that, whatever the row says.

    Of the row it has what the child has counted, and where the parent did not end the connection, how it ended.
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
    child.place[:] = memoryview(b"\x01" * child.place.nbytes).cast("Q")  # to be read by others: we do not go by it
    record = ExitRecord(child, SIGKILL, None)
    child.close()
    assert (record.was_handed, record.peer, record.began_usec) == (True, (ALICE, ALICE, 1), child.connected_usec)
    assert (record.outcome, record.row[OUTCOME]) == ("idle", UNKNOWN)


def test_an_observer_may_do_nothing() -> None:
    """The observer that a program has if it brings none takes everything."""
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
    """A connection is idle from its last byte, or from when it was handed over; its lifetime counts from that."""
    limits = Limits(1, 1, 1, 1)
    limits.idle_timeout, limits.max_lifetime = idle, lifetime
    assert limits.reached(int(active * 1e6), int(connected * 1e6), int(now * 1e6)) == reached


@pytest.mark.parametrize(("most", "share"), [(1, 1), (2, 1), (7, 6), (8, 7), (64, 56), (4096, 3584)])
def test_seven_eighths(most: int, share: int) -> None:
    """One user alone never has every child, where there are two and more, and always at least one."""
    assert seven_eighths(most) == share
