"""A child that is killed, stopped or out of memory affects only its own client."""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import socket
import time
from pathlib import Path

import pytest
from account import asking, held, is_stopped, once, spare, unaffected, waiting
from running import Daemon, activated, lives, running, wait_until
from shim import Shim

STOP_SECONDS = 3.0
"""Longer than a child may take to begin serving."""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS])
def test_busy_child_killed(folder: Path, number: signal.Signals) -> None:
    """A busy child killed by a signal costs only its own client the connection; the log has one record of it."""
    with running(folder) as daemon, unaffected(daemon), held(daemon) as (client, pid):
        os.kill(pid, number)
        assert client.recv(1) == b""
        wait_until(lambda: f"child_pid={pid} " in daemon.log, "it is logged")
    line = once(daemon.log, f"child_pid={pid} ")
    assert f"ended by {number.name}{' (out of memory?)' if number == signal.SIGKILL else ''} " in line
    assert " served 0 " not in line
    assert daemon.board.header["crashed"] == 1


def test_spare_children_killed(folder: Path) -> None:
    """Waiting children that are killed are replaced; clients wait a moment meanwhile, and each death is logged once."""
    with running(folder) as daemon, unaffected(daemon) as account:
        with account.quiet():
            unused = wait_until(lambda: found if len(found := spare(daemon)) == 8 else [], "eight are spare")
            pids = waiting(daemon)
            assert set(unused) <= set(pids)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
        account.wait_for_progress()
        wait_until(lambda: all(f"child_pid={pid} " in daemon.log for pid in pids), "their ends are logged")
    for pid in pids:
        once(daemon.log, f"child_pid={pid} ")
    for pid in unused:
        assert "served 0 of " in once(daemon.log, f"child_pid={pid} ")
    pauses = [line for line in daemon.log.splitlines() if " throttle: " in line]  # two if the kills took over 0.1 s
    assert pauses
    assert all(" it ended before its first connection; forking again in " in line for line in pauses)
    assert daemon.board.header["lost"] == 0


def test_child_out_of_memory(folder: Path) -> None:
    """A child that gets no more memory ends alone, with exit code 70, and logs the reason once."""
    with running(folder) as daemon, unaffected(daemon), held(daemon) as (client, pid):
        resource.prlimit(pid, resource.RLIMIT_AS, (1 << 20, 1 << 20))
        with contextlib.suppress(ConnectionError):
            client.sendall("\U00010428".encode() * 75_000)  # upper-casing this takes more than malloc has in reserve
        wait_until(lambda: f"child_pid={pid} " in daemon.log, "it is logged")
    assert " ended with exit code 70: MemoryError at " in once(daemon.log, f"child_pid={pid} ")


def test_busy_child_stopped(folder: Path) -> None:
    """A busy child that is stopped delays no other client; the drain ends at its deadline and counts the child."""
    with running(folder, "--drain-timeout", "0.5") as daemon:
        with asking(daemon) as account, held(daemon) as (_, pid):
            os.kill(pid, signal.SIGSTOP)
            account.wait_for_progress(20)
            with account.quiet():
                pass
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 10
        assert "was killed at the drain deadline" in once(daemon.log, f"child_pid={pid} ")
        account.check_scoreboard_at_end()


def test_busy_child_goes_on(folder: Path) -> None:
    """A stopped child that is continued serves its client as if nothing had happened."""
    with running(folder) as daemon, unaffected(daemon) as account, held(daemon) as (client, pid):
        os.kill(pid, signal.SIGSTOP)
        client.sendall(b"waited")
        account.wait_for_progress()
        os.kill(pid, signal.SIGCONT)
        assert client.recv(16) == b"WAITED"


@pytest.mark.parametrize("count", [1, 4])
def test_spare_children_stopped(folder: Path, count: int) -> None:
    """A waiting child that is stopped does not begin, and is killed; another child serves its connection."""
    with running(folder, "--spare-children", str(count)) as daemon, unaffected(daemon) as account:
        with account.quiet():
            wait_until(lambda: len(spare(daemon)) == count, "the spare ones wait")
            pids = waiting(daemon)
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: all(map(is_stopped, pids)), "they have stopped")
        account.wait_for_progress(20)
        wait_until(lambda: daemon.board.header["stopped"] >= min(2, len(pids)), "those that were needed are killed")
        for pid in filter(lives, pids):
            os.kill(pid, signal.SIGCONT)
    header = daemon.board.header
    assert header["handed_again"] == header["stopped"] == daemon.log.count("it did not begin to serve, ")
    assert header["lost"] == header["crashed"] == 0


def test_connection_outlives_any_number_of_dead_children(folder: Path, shim: Shim) -> None:
    """A connection is lost with no child that ends before it reads of it, however many there are."""
    with running(folder, environ=shim.environ) as daemon:
        pids = wait_until(lambda: found if len(found := spare(daemon)) == 8 else [], "eight are spare")
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: all(map(is_stopped, pids)), "they have stopped")
        with shim.failing("fork", "EAGAIN"), daemon.connect() as client:  # or a new child would serve it
            client.sendall(b"waited")
            for _ in range(5):
                pid = wait_until(lambda: _holder(daemon, pids), "a child has it")
                _kill(pid, signal.SIGKILL)
                wait_until(lambda: not lives(pid), "it has ended")  # noqa: B023
            for pid in pids:
                _kill(pid, signal.SIGCONT)
            assert client.recv(16) == b"WAITED"
        wait_until(lambda: daemon.board.header["handed_again"] >= 5, "that is counted")
        assert daemon.board.header["lost"] == 0


def _holder(daemon: Daemon, pids: list[int]) -> int:
    """The one of these children that has a connection; 0: none, or not one alone."""
    found = set(filter(lives, pids)) - set(waiting(daemon))
    return found.pop() if len(found) == 1 else 0


def _kill(pid: int, number: signal.Signals) -> None:
    """Send the signal, unless the daemon has ended that child already, after a second."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def test_drain_with_a_stopped_spare(folder: Path) -> None:
    """A stopped spare child delays a drain no longer than to its deadline."""
    with running(folder, "--drain-timeout", "0.5") as daemon:
        assert daemon.ask(b"x") == b"X"
        os.kill(spare(daemon)[0], signal.SIGSTOP)
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 10
    assert "cut=0 killed=1 crashed=0" in daemon.log.splitlines()[-1]


def test_stopped_parent(folder: Path) -> None:
    """After a stop of the daemon and its children, the same children serve the clients that came meanwhile."""
    with running(folder, "--spare-children", "2") as daemon, daemon.held() as before:
        children = wait_until(lambda: found if len(found := daemon.children()) == 3 else [], "two are spare")
        for pid in (daemon.pid, *children):
            os.kill(pid, signal.SIGSTOP)
        with daemon.connect() as client:
            client.sendall(b"waited")
            before.sendall(b"waited")
            assert not select.select([client, before], [], [], STOP_SECONDS)[0]
            for pid in (*children, daemon.pid):  # it last: a child that does not begin in time is killed
                os.kill(pid, signal.SIGCONT)
            assert (client.recv(16), before.recv(16)) == (b"WAITED", b"WAITED")
        assert daemon.board.header["stopped"] == 0


def test_idle_exit_with_a_stopped_spare(folder: Path) -> None:
    """A stopped spare child is killed, and delays the exit of an idle daemon only for a moment."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "upperd.sock"))
        listener.listen(socket.SOMAXCONN)
        with running(folder, **activated(folder, [listener], "--idle-exit", "4")) as daemon:
            pid = spare(daemon)[0]
            os.kill(pid, signal.SIGSTOP)
            assert daemon.wait() == 0
    once(daemon.log, f" end: .* child_pid={pid} ")
