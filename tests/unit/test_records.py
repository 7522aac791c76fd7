"""The words about children and figures: the status line, and the record of a child that has ended."""

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest
import reporting
from hypothesis import given
from hypothesis import strategies as st

from upperd.base.text import size
from upperd.server.exits import ExitRecord
from upperd.server.layout import HANDED, PEER_UID, UNKNOWN, Outcome
from upperd.server.row import Row
from upperd.server.scoreboard import Scoreboard
from upperd.service.records import ending, fields, sentence, status_line


def record(status: int | None = 0, **said: Any) -> ExitRecord:
    """The record of a child that served a little of this user."""
    return reporting.record(status, **{"peer": (1000, 1000, 7), "outcome": Outcome.DONE, **said})


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"), (999_949, "999.9 kB"),
        (999_950, "1.0 MB"), (10**9, "1.0 GB"), (10**12, "1.0 TB"), (10**15, "1.0 PB"), (UNKNOWN, "18.4 EB"),
    ],
)  # fmt: skip
def test_size(count: int, text: str) -> None:
    """A number of bytes is shown in a readable unit."""
    assert size(count) == text


@given(st.integers(0, UNKNOWN))
def test_size_is_short(count: int) -> None:
    """No size is longer than its column, and none shows 1000 of a unit."""
    number, unit = size(count).split()
    assert float(number) < 1000
    assert len(number) <= 5
    assert unit in ("B", "kB", "MB", "GB", "TB", "PB", "EB")


@pytest.mark.parametrize(
    ("status", "text"),
    [(None, "unknown"), (0, "0"), (3 << 8, "3"), (signal.SIGKILL, "SIGKILL"), (signal.SIGSEGV | 0x80, "SIGSEGV"),
     (40, "signal 40")],
)  # fmt: skip
def test_ending(status: int | None, text: str) -> None:
    """An end is an exit code, a signal's name, or unknown."""
    assert ending(status) == text


@pytest.mark.parametrize("code", [0, 7])
def test_ending_of_a_true_child(code: int) -> None:
    """The kernel's account of a child is read correctly."""
    pid = os.fork()
    if pid == 0:
        os._exit(code)
    assert ending(os.waitpid(pid, 0)[1]) == str(code)


# The status


def test_status_line_of_nothing() -> None:
    """A daemon at rest has a short status line, which begins with its phase if there is one."""
    board = Scoreboard(slots=1)
    board["max_children"] = 8
    assert status_line(board, "") == "0 busy, 0 spare of 8 children; 0 connections, 0 B in, 0 B out"
    assert status_line(board, "draining").startswith("draining: 0 busy")


def test_status_line() -> None:
    """The line has children, waiting connections, totals of living and ended ones, failures, and the busiest child."""
    board = Scoreboard(slots=8)
    board["max_children"] = 8
    board["connections"], board["crashed"], board["fork_failures"], board["refused"] = 10, 2, 1, 3
    board["queued"], board["queued_users"] = 5, 2
    board.claim()
    for uid, count in ((7, 100), (UNKNOWN, 2000)):
        slot, place, row = board.claim()
        board.born(slot, 50 + slot)
        place[HANDED], place[PEER_UID] = 1, uid
        child = Row(row)
        child.begin()
        child.received(count)
    assert status_line(board, "") == (
        "2 busy, 1 spare of 8 children; 5 waiting of 2 users; 12 connections, 2.1 kB in, 0 B out; "
        "3 refused, 2 crashed, 1 fork failures; busiest 52 (unknown peer) 2.0 kB in"
    )


# The record of a child


def test_a_normal_end() -> None:
    """A normal end has one sentence, and every figure of the child under its name, the handler's own included."""
    assert sentence(record()) == "child 4242 served 1 of uid 1000, 30 B"
    found = fields(record(), ["undecodable"])
    expected = {"child_pid": 4242, "peer_uid": 1000, "connections": 1, "bytes_in": 30, "exit": "0", "outcome": "done"}
    assert expected.items() <= found.items()
    assert (found["undecodable"], "unanswered" in found) == (5, False)
    assert fields(record(unanswered=2), [])["unanswered"] == 2


def test_what_is_not_known_is_left_out() -> None:
    """For an unknown peer there is no uid, no gid and no pid, and the sentence says unknown."""
    one = record(peer=(UNKNOWN, UNKNOWN, UNKNOWN))
    assert not {"peer_uid", "peer_gid", "peer_pid"} & set(fields(one, []))
    assert "unknown peer" in sentence(one)
    assert {"peer_uid": 8, "peer_pid": 9}.items() <= fields(record(peer=(8, UNKNOWN, 9)), []).items()


def test_nonsense_of_a_child() -> None:
    """A broken child's nonsense is reported without a failure."""
    found = fields(record(outcome=77, active_usec=UNKNOWN, bytes_in=UNKNOWN), [])
    assert (found["outcome"], found["bytes_in"]) == ("unknown", UNKNOWN)
    one = record()
    one.began_usec = UNKNOWN  # a clock that went back
    assert fields(one, [])["duration_usec"] == 0


def test_the_parents_word_comes_first() -> None:
    """If the parent ended the connection, that is the outcome, whatever the child says."""
    assert fields(record(ending=Outcome.IDLE), [])["outcome"] == "idle"
    assert fields(record(outcome=Outcome.RESET, ending=Outcome.IDLE), [])["outcome"] == "idle"
    assert fields(record(outcome=Outcome.RESET), [])["outcome"] == "reset"


def test_resources() -> None:
    """The record has the kernel's measurements, if they are known."""
    one = record()
    one.rusage = SimpleNamespace(ru_maxrss=900, ru_utime=0.5, ru_stime=0.25)  # type: ignore[assignment]
    expected = {"maxrss_kb": 900, "user_usec": 500_000, "system_usec": 250_000}
    assert expected.items() <= fields(one, []).items()


@pytest.mark.parametrize(
    ("status", "text"),
    [(signal.SIGSEGV, "ended by SIGSEGV"), (1 << 8, "ended with exit code 1"), (signal.SIGKILL, "(out of memory?)")],
)
def test_an_abnormal_end(status: int, text: str) -> None:
    """The sentence of an abnormal end says how the child ended."""
    assert text in sentence(record(status))


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("", ", was cut at the drain deadline"),
        ("killed", ", was killed at the drain deadline"),
        ("overdue", ", was killed: its connection did not end at a limit"),
        ("stopped", ", was killed: it did not begin to serve, or did not exit (stopped?)"),
        ("unruly", ", was killed: it reported more connections than it was handed"),
    ],
)
def test_an_end_that_we_made(reason: str, text: str) -> None:
    """The sentence about a child that the parent ended says why, and does not suspect the host."""
    one = record(signal.SIGKILL)
    one.killed_for, one.was_cut = reason, not reason
    assert sentence(one) == f"child 4242 served 1 of uid 1000, 30 B{text}"
