"""A child that is killed, stopped, or out of memory: its own client alone is affected."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import time
from pathlib import Path

import pytest
from account import asking, held, is_stopped, once, spare, unaffected
from running import activated, lives, running, wait_until


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS])
def test_busy_child_killed(folder: Path, number: signal.Signals) -> None:
    """A busy child killed by a signal costs its client the connection, and nobody else anything; it is logged once."""
    with running(folder) as daemon, unaffected(daemon), held(daemon) as (client, pid):
        os.kill(pid, number)
        assert client.recv(1) == b""
        wait_until(lambda: f"child_pid={pid} " in daemon.log, "it is logged")
    line = once(daemon.log, f"child_pid={pid} ")
    assert f"ended by {number.name}{' (out of memory?)' if number == signal.SIGKILL else ''} " in line
    assert " connections=1 messages=1 bytes_in=401 bytes_out=401 " in line
    assert daemon.board.header["crashed"] == 1


def test_spare_children_killed(folder: Path) -> None:
    """Spare children that are killed are replaced; who comes meanwhile waits for a moment, each end is logged once."""
    with running(folder) as daemon, unaffected(daemon) as account:
        with account.quiet():
            pids = wait_until(lambda: found if len(found := spare(daemon)) == 8 else [], "eight children wait")
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
            # One that has not died yet may still take a connection, and it with it.
            wait_until(lambda: not any(map(lives, pids)), "they have ended")
        account.wait_for_progress()
    for pid in pids:
        assert "served 0 of unknown peer" in once(daemon.log, f"child_pid={pid} ")
    assert "it ended before its first connection" in once(daemon.log, " throttle: ")
    once(daemon.log, " resume: ")


def test_child_out_of_memory(folder: Path) -> None:
    """A child that can have no more memory ends alone, with exit code 70, and says why; it is logged once."""
    with running(folder) as daemon, unaffected(daemon), held(daemon) as (client, pid):
        resource.prlimit(pid, resource.RLIMIT_AS, (1 << 20, 1 << 20))
        with contextlib.suppress(ConnectionError):
            client.sendall("\U00010428".encode() * 75_000)  # to upper-case that takes more than malloc has in store
        wait_until(lambda: f"child_pid={pid} " in daemon.log, "it is logged")
    assert " ended with exit code 70 " in once(daemon.log, f"child_pid={pid} ")
    once(daemon.log, f"^<3>child {pid}: MemoryError: ")


def test_busy_child_stopped(folder: Path) -> None:
    """A busy child that is stopped keeps nobody else waiting; the drain ends at its deadline and accounts for it."""
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
    """A child that goes on after a stop serves its client as if nothing had been."""
    with running(folder) as daemon, unaffected(daemon) as account, held(daemon) as (client, pid):
        os.kill(pid, signal.SIGSTOP)
        client.sendall(b"waited")
        account.wait_for_progress()
        os.kill(pid, signal.SIGCONT)
        assert client.recv(16) == b"WAITED"


@pytest.mark.parametrize("count", [1, 4])
def test_spare_children_stopped(folder: Path, count: int) -> None:
    """Where every spare child is stopped, others take their place; once they go on they end, and nobody was lost."""
    with running(folder, "--spare-children", str(count)) as daemon, unaffected(daemon) as account:
        with account.quiet():
            pids = wait_until(lambda: found if len(found := spare(daemon)) == count else [], "they wait")
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: all(map(is_stopped, pids)), "they have stopped")
        account.wait_for_progress(20)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    for pid in pids:
        once(daemon.log, f" stopped: .* child_pid={pid}$")


def test_drain_with_a_stopped_spare(folder: Path) -> None:
    """A spare child that is stopped holds up a drain no longer than to its deadline."""
    with running(folder, "--drain-timeout", "0.5") as daemon:
        assert daemon.ask(b"x") == b"X"
        os.kill(spare(daemon)[0], signal.SIGSTOP)
        began = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - began < 10
    assert "cut=0 killed=1 crashed=0" in daemon.log.splitlines()[-1]


def test_idle_exit_with_a_stopped_spare(folder: Path) -> None:
    """A spare child that is stopped keeps an idle daemon from leaving, not from serving; then both leave."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "upperd.sock"))
        listener.listen(socket.SOMAXCONN)
        with running(folder, **activated(folder, [listener], "--idle-exit", "1")) as daemon:
            pid = spare(daemon)[0]
            os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: f" child_pid={pid}" in daemon.log, "it is found when the daemon would leave")
            assert [daemon.ask(b"x") for _ in range(5)] == [b"X"] * 5
            os.kill(pid, signal.SIGCONT)
            assert daemon.wait() == 0
    once(daemon.log, f" stopped: .* child_pid={pid}$")
