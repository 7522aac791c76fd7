"""Messages to the service manager."""

import re
import select
import signal
import socket
import time
from pathlib import Path

import pytest
from running import DEADLINE, Daemon, read_exactly, running, wait_until

ALL = ("--max-children-per-user", "0")
"""One user may have every child."""


def test_ready_means_ready(folder: Path) -> None:
    """At READY=1 every listener listens and its spare children are forked."""
    with running(folder, "--spare-children", "3", "--tcp", "127.0.0.1:0") as daemon:
        assert len(daemon.children()) == 3
        assert (daemon.board.spare, daemon.board.busy) == (3, 0)


def test_status_follows_what_happens(daemon: Daemon) -> None:
    """STATUS is one line with the busy children, the limit, the totals, and the busiest child with its peer."""
    with daemon.held():
        line = ""
        while "4 B out" not in line:  # the first may come while the answer is under way
            line = daemon.manager.wait_for("STATUS=1 busy")
    assert re.search(r"of 64 children; 1 connection, 4 B in, 4 B out; busiest \d+ \(uid \d+\) 4 B in", line)
    daemon.manager.wait_for("STATUS=0 busy, 9 spare")  # one child waits for more of this user


@pytest.mark.parametrize("options", [(), ("--connections-per-child", "100"), ("--max-children", "4")])
def test_idle_daemon_sleeps(folder: Path, options: tuple[str, ...]) -> None:
    """Without clients the daemon sleeps: within two seconds it does not use a processor once."""
    with running(folder, *options) as daemon:
        for _ in range(3):
            assert daemon.ask(b"x") == b"X"
        end = time.monotonic() + DEADLINE
        while (before := _switches(daemon.pid)) != _switches_after_two_seconds(daemon.pid):
            assert time.monotonic() < end, f"it still turned after {before} switches"


def _switches(pid: int) -> int:
    """How often a process was switched off the processor (proc(5), status), which also happens to one that spins."""
    found = re.findall(r"^(?:non)?voluntary_ctxt_switches:\s*(\d+)$", _status(pid), re.MULTILINE)
    assert len(found) == 2
    return sum(map(int, found))


def _status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def _switches_after_two_seconds(pid: int) -> int:
    select.select([], [], [], 2.0)
    return _switches(pid)


def test_watchdog_is_fed_by_the_loop(folder: Path) -> None:
    """WATCHDOG=1 comes while the loop turns, also at max_children."""
    environ = {"WATCHDOG_USEC": "200000"}
    with running(folder, "--max-children", "2", *ALL, environ=environ) as daemon, daemon.held(), daemon.held():
        for _ in range(5):
            daemon.manager.wait_for("WATCHDOG=1")


def test_stopping_is_said(daemon: Daemon) -> None:
    """STOPPING=1 is sent when the drain begins."""
    daemon.signal(signal.SIGTERM)
    daemon.manager.wait_for("STOPPING=1")
    assert daemon.wait() == 0


def test_dead_manager_does_no_harm(folder: Path) -> None:
    """A notification socket that is gone, or never read, neither stops the daemon nor slows it."""
    with running(folder, environ={"WATCHDOG_USEC": "20000"}) as daemon:
        for _ in range(30):
            assert daemon.ask(b"x") == b"X"
        daemon.manager.path.unlink()
        assert daemon.ask(b"x") == b"X"
        assert daemon.stop() == 0


def test_limit_queues(folder: Path) -> None:
    """At max_children a further client waits its turn, and is served when a child is free."""
    with running(folder, "--max-children", "2", *ALL) as daemon:
        first, second = daemon.held(), daemon.held()
        with daemon.connect() as waiting, second:
            waiting.sendall(b"me too")
            waiting.setblocking(False)
            wait_until(lambda: daemon.board.busy == 2, "both children are busy")
            first.close()
            waiting.settimeout(30)
            assert read_exactly(waiting, 6) == b"ME TOO"


def test_listeners_do_not_starve_each_other(folder: Path) -> None:
    """With children busy on one listener, a client of another listener is served at once."""
    with running(folder, "--max-children", "4", "--spare-children", "2", "--tcp", "127.0.0.1:0") as daemon:
        port = int(re.findall(r"tcp:127.0.0.1:(\d+)", " ".join(daemon.board.listeners))[0])
        held = [daemon.held() for _ in range(2)]
        with socket.create_connection(("127.0.0.1", port), 30) as client:
            client.sendall(b"tcp")
            assert read_exactly(client, 3) == b"TCP"
        for connection in held:
            connection.close()
