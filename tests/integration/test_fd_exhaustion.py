"""A full table of descriptors, in a child and in the parent: nobody spins, no connection is lost."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from pathlib import Path

from running import Daemon, read_exactly, running, wait_until


def _set_descriptors(pid: int, count: int) -> None:
    """Allow a process this many descriptors (prlimit(2)); what it has open stays open."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (count, hard))


def _cpu_ticks(pid: int) -> int:
    """Processor time of a process, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_accept_that_fails_loses_nobody(folder: Path) -> None:
    """A child that cannot accept for want of a descriptor ends and is logged; clients are served by the next one."""
    with running(folder, "--spare-children", "1", "--connections-per-child", "100") as daemon:
        assert daemon.ask(b"first") == b"FIRST"
        # The kernel sets the descriptor of an accept() aside before it waits: the one under way may succeed.
        for pid in daemon.children():
            _set_descriptors(pid, 3)
        assert [daemon.ask(b"waited") for _ in range(5)] == [b"WAITED"] * 5
        wait_until(lambda: " exit=71 " in daemon.log, "its end is logged")
        assert "Too many open files" in daemon.log
        assert daemon.board.header["crashed"] >= 1
        assert daemon.process.poll() is None


def test_parent_does_not_spin(folder: Path) -> None:
    """While the parent's table is full and clients wait, it uses next to no processor time; then all are served."""
    with running(folder, "--spare-children", "2") as daemon, contextlib.ExitStack() as until:
        soft, _ = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        _set_descriptors(daemon.pid, max(map(int, os.listdir(f"/proc/{daemon.pid}/fd"))))
        clients = [until.enter_context(daemon.connect()) for _ in range(6)]
        for client in clients:
            client.sendall(b"me")
        wait_until(lambda: "throttle:" in daemon.log, "it says why it forks no more")
        before, began = _cpu_ticks(daemon.pid), time.monotonic()
        wait_until(lambda: time.monotonic() > began + 2, "two seconds pass")
        spent = (_cpu_ticks(daemon.pid) - before) / os.sysconf("SC_CLK_TCK")
        _set_descriptors(daemon.pid, soft)
        assert [read_exactly(client, 2) for client in clients] == [b"ME"] * 6
    assert spent < 0.5, f"{spent} s of processor time in two seconds"


def test_trouble_is_said_and_not_repeated(folder: Path) -> None:
    """While forking fails the log has one line for each pause, and the pauses grow; so has STATUS the count."""
    with running(folder, "--spare-children", "2") as daemon, contextlib.ExitStack() as until:
        soft, _ = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        _set_descriptors(daemon.pid, max(map(int, os.listdir(f"/proc/{daemon.pid}/fd"))))
        for _ in range(2):
            until.enter_context(daemon.held())
        wait_until(lambda: daemon.log.count("throttle:") >= 4, "the fourth pause")
        pauses = _pauses(daemon)
        assert pauses[:4] == [100_000, 200_000, 400_000, 800_000]
        assert len(pauses) <= daemon.board.header["fork_failures"]
        _set_descriptors(daemon.pid, soft)
        wait_until(lambda: daemon.board.spare >= 1, "a child waits again")
        assert "fork failures" in daemon.manager.wait_for("STATUS=2 busy, 2 spare")


def _pauses(daemon: Daemon) -> list[int]:
    lines = [line for line in daemon.log.splitlines() if " throttle:" in line]
    return [int(line.rpartition("pause_usec=")[2]) for line in lines]


def test_too_few_descriptors_to_start(folder: Path) -> None:
    """A start while the table allows next to nothing ends with a reason, and does not hang."""
    with running(
        folder, ready=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12))
    ) as daemon:
        wait_until(lambda: daemon.process.poll() is not None or "ready:" in daemon.log, "it is ready, or ends")
        assert daemon.process.poll() not in (0, None) or daemon.ask(b"x") == b"X"
