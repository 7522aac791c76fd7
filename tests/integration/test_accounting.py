"""Every end of a child is in the log: as a record of its own, or in a sum; nothing is left out."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import COMMAND, Daemon, running, wait_until

_EACH = ("--connections-per-child", "1", "--spare-children", "16")
"""Each connection has its own child, and so its own record."""


@pytest.fixture
def daemon(folder: Path) -> Iterator[Daemon]:
    with running(folder, *_EACH) as daemon:
        yield daemon


def _records(daemon: Daemon) -> list[dict[str, str]]:
    """The fields of every record of one child."""
    lines = [line for line in daemon.log.splitlines() if re.match(r"upperd\[\d+\] end: ", line)]
    return [dict(re.findall(r" (\w+)=(\S*)", line)) for line in lines]


def _sums(daemon: Daemon) -> list[dict[str, str]]:
    lines = [line for line in daemon.log.splitlines() if re.match(r"upperd\[\d+\] ends: ", line)]
    return [dict(re.findall(r" (\w+)=(\S*)", line)) for line in lines]


def _record_of(daemon: Daemon, pid: int) -> dict[str, str]:
    """The only record of this child."""
    wait_until(lambda: any(record["child_pid"] == str(pid) for record in _records(daemon)), f"a record of {pid}")
    (record,) = (record for record in _records(daemon) if record["child_pid"] == str(pid))
    return record


def _child_of(daemon: Daemon) -> int:
    """The child that serves the one connection under way."""

    def found() -> int:
        busy = [child for child in daemon.board.children if not child["waiting"] and not child["outcome"]]
        # A child may serve before its parent has written its pid: wait while it is 0, which must never be killed.
        return busy[0]["pid"] if len(busy) == 1 and busy[0]["bytes_out"] else 0

    return wait_until(found, "one child is busy")


def test_record_of_a_normal_end(daemon: Daemon) -> None:
    """A child's record has its pid, its peer, connections, bytes, duration, exit status, outcome and resources."""
    with daemon.connect() as client:
        client.sendall("straße".encode())
        assert client.recv(16) == b"STRASSE"
        pid = _child_of(daemon)
    record = _record_of(daemon, pid)
    assert record["peer_uid"] == str(os.geteuid())
    assert record["peer_gid"] == str(os.getegid())
    assert record["peer_pid"] == str(os.getpid())
    assert [record[name] for name in ("connections", "messages", "bytes_in", "bytes_out")] == ["1", "1", "7", "7"]
    assert [record[name] for name in ("exit", "outcome", "listener")] == ["0", "done", "0"]
    assert int(record["duration_usec"]) > 0
    assert int(record["maxrss_kb"]) > 1000
    assert int(record["user_usec"]) + int(record["system_usec"]) >= 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGVTALRM])
def test_record_of_a_killed_child(daemon: Daemon, number: signal.Signals) -> None:
    """A child that a signal ended is recorded as an error, with the name of the signal and the child's work."""
    with daemon.held() as client:
        pid = _child_of(daemon)
        os.kill(pid, number)
        assert client.recv(1) == b""
    record = _record_of(daemon, pid)
    assert (record["exit"], record["bytes_in"], record["peer_pid"]) == (number.name, "4", str(os.getpid()))
    assert ("out of memory?" in daemon.log) == (number == signal.SIGKILL)


def test_record_of_a_client_that_goes_away(daemon: Daemon) -> None:
    """A client that leaves without reading its answer is no error: the record says reset, the exit status is 0."""
    client = daemon.held()
    pid = _child_of(daemon)
    os.kill(pid, signal.SIGSTOP)
    with client:
        client.sendall(b"unread")
    os.kill(pid, signal.SIGCONT)
    record = _record_of(daemon, pid)
    assert (record["exit"], record["outcome"]) == ("0", "reset")
    assert daemon.board.header["crashed"] == 0


@pytest.mark.parametrize("connections", [40, 400])
def test_records_and_sums_add_up(folder: Path, connections: int) -> None:
    """However many children end in a second, records and sums together account for every connection and every byte."""
    with running(folder, *_EACH) as daemon:
        for number in range(connections):
            data = b"x" * (1 + number % 7)
            assert daemon.ask(data) == data.upper()
        assert daemon.stop() == 0
        header = daemon.board.header
    single = [record for record in _records(daemon) if record["connections"] != "0"]
    for name, expected in (("connections", connections), ("bytes_in", header["bytes_in"])):
        total = sum(int(record[name]) for record in (*single, *_sums(daemon)))
        assert total == expected, name
    assert sum(int(record["children"]) for record in _sums(daemon)) + len(single) == connections
    assert header["bytes_in"] == sum(1 + number % 7 for number in range(connections))


def test_no_more_than_fifty_records_a_second(folder: Path) -> None:
    """There are at most about fifty records of normal ends for each sum that is written."""
    with running(folder, *_EACH) as daemon:
        for _ in range(400):
            assert daemon.ask(b"x") == b"X"
        daemon.stop()
    longest = max(len(run.splitlines()) for run in re.split(r"(?m)^upperd\[\d+\] ends: .*$", daemon.log))
    assert _sums(daemon)
    # Ends in the first second after a sum, and the lines of the start or of the drain.
    assert longest <= 50 + 50 + 5


def test_crash_in_a_flood_has_its_own_record(folder: Path) -> None:
    """An abnormal end is logged by itself, even if the records of that second are used up."""
    with running(folder, *_EACH) as daemon:
        with daemon.held() as client:
            pid = _child_of(daemon)
            for _ in range(120):
                assert daemon.ask(b"x") == b"X"
            os.kill(pid, signal.SIGKILL)
            assert client.recv(1) == b""
        assert _record_of(daemon, pid)["exit"] == "SIGKILL"


def test_log_that_nobody_reads_does_not_block(folder: Path) -> None:
    """If standard error is a full pipe, the daemon goes on serving, and counts the entries that it lost."""
    reading, writing = os.pipe()
    with contextlib.suppress(BlockingIOError):
        os.set_blocking(writing, False)
        while True:
            os.write(writing, b"\n" * 4096)
    os.set_blocking(writing, True)
    divert = f"import os, sys; os.dup2({writing}, 2); os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", divert, *COMMAND, "--socket", str(folder / "upperd.sock"), *_EACH]
    try:
        with running(folder, command=command, pass_fds=(writing,)) as daemon:
            for _ in range(20):
                assert daemon.ask(b"x") == b"X"
            wait_until(lambda: daemon.board.header["records_lost"] >= 20, "what is lost is counted")
            assert daemon.stop() == 0
    finally:
        os.close(reading)
        os.close(writing)


def test_control_characters_stay_out_of_the_log(folder: Path) -> None:
    """A name that the manager passes cannot forge a line of the log."""
    from running import activated

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "upperd.sock"))
        listener.listen()
        with running(folder, **activated(folder, [listener], names="a\nupperd[1] exiting")) as daemon:
            assert daemon.ask(b"x") == b"X"
    assert [line for line in daemon.log.splitlines() if not line.startswith(f"upperd[{daemon.pid}] ")] == []
