"""A full table of descriptors, in a child or in the parent: no process spins, and no connection is lost."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from pathlib import Path

from running import Daemon, ask_on, read_exactly, running, wait_until


def _set_descriptors(pid: int, count: int) -> None:
    """Limit a process to this many descriptors (prlimit(2)); open ones stay open."""
    _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (count, hard))


def _cpu_ticks(pid: int) -> int:
    """Processor time of a process, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _fill_table(daemon: Daemon) -> int:
    """Keep the daemon from opening more descriptors; return the earlier limit."""
    soft, _ = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    used = set(map(int, os.listdir(f"/proc/{daemon.pid}/fd")))
    _set_descriptors(daemon.pid, next(number for number in range(soft) if number not in used))
    return soft


def test_accept_that_fails_loses_nobody(folder: Path) -> None:
    """While the parent's table is full clients wait in the kernel's queue; later all are served."""
    with running(folder) as daemon, contextlib.ExitStack() as until:
        soft = _fill_table(daemon)
        clients = [until.enter_context(daemon.connect()) for _ in range(6)]
        for client in clients:
            client.sendall(b"me")
        wait_until(lambda: "pause:" in daemon.log, "it says why it accepts no more")
        assert "Too many open files" in daemon.log
        _set_descriptors(daemon.pid, soft)
        assert [read_exactly(client, 2) for client in clients] == [b"ME"] * 6
        assert daemon.board.header["refused"] == 0


def test_child_without_a_descriptor_loses_nobody(folder: Path) -> None:
    """A child whose table is full cannot take a connection, says so and ends; another child serves the client."""
    with running(folder, "--spare-children", "1") as daemon:
        assert daemon.ask(b"first") == b"FIRST"
        for pid in daemon.children():
            _set_descriptors(pid, 3)
        assert [daemon.ask(b"again") for _ in range(5)] == [b"AGAIN"] * 5
        assert "Too many open files" in daemon.log
        assert daemon.board.header["handed_again"] >= 1


def test_parent_does_not_spin(folder: Path) -> None:
    """While the parent's table is full and clients wait, the parent uses next to no processor time."""
    with running(folder) as daemon, contextlib.ExitStack() as until:
        soft = _fill_table(daemon)
        clients = [until.enter_context(daemon.connect()) for _ in range(6)]
        wait_until(lambda: "pause:" in daemon.log, "it says why it accepts no more")
        before, began = _cpu_ticks(daemon.pid), time.monotonic()
        wait_until(lambda: time.monotonic() > began + 2, "two seconds pass")
        spent = (_cpu_ticks(daemon.pid) - before) / os.sysconf("SC_CLK_TCK")
        _set_descriptors(daemon.pid, soft)
        assert [ask_on(client, b"me") for client in clients] == [b"ME"] * 6
    assert spent < 0.5, f"{spent} s of processor time in two seconds"


def test_a_child_that_waits_gives_up_its_descriptor(folder: Path) -> None:
    """If the last descriptor is a waiting child's channel, the child leaves, and the client is served."""
    with running(folder) as daemon:
        _fill_table(daemon)
        assert daemon.ask(b"x") == b"X"
        assert "pause:" in daemon.log
        assert daemon.board.header["crashed"] == 0


def test_too_few_descriptors_to_start(folder: Path) -> None:
    """A start with next to no free descriptors ends with a reason, and does not hang."""
    with running(
        folder, ready=False, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (12, 12))
    ) as daemon:
        wait_until(lambda: daemon.process.poll() is not None or "ready:" in daemon.log, "it is ready, or ends")
        assert daemon.process.poll() not in (0, None) or daemon.ask(b"x") == b"X"
