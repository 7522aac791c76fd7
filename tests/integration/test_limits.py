"""At max_children the loop still turns, and clients wait in the backlog."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
from pathlib import Path

import pytest
from running import DEADLINE, Daemon, ask_on, read_exactly, read_to_end, running, wait_until

from upperd.service.reporter import STATUS_SECONDS


def _hold(daemon: Daemon, count: int, until: contextlib.ExitStack) -> list[socket.socket]:
    """Clients that are served, and quiet."""
    return [until.enter_context(daemon.held()) for _ in range(count)]


def _all(children: int) -> tuple[str, ...]:
    """Options for this many children, all of which one user may have."""
    return "--max-children", str(children), "--max-children-per-user", "0"


def _tcp_port(daemon: Daemon) -> int:
    found = re.search(r"tcp:127\.0\.0\.1:(\d+)", " ".join(daemon.board.listeners))
    assert found is not None
    return int(found[1])


def test_one_more_than_the_stock_limit(folder: Path) -> None:
    """With forty of forty children busy the next client waits, and is served as soon as one of them ends."""
    with running(folder, *_all(40)) as daemon, contextlib.ExitStack() as until:
        held = _hold(daemon, 40, until)
        waiting = until.enter_context(daemon.connect())
        waiting.sendall(b"the next")
        daemon.manager.wait_for("STATUS=40 busy, 0 spare of 40")
        assert len(daemon.children()) == 40
        held[17].close()
        assert read_exactly(waiting, 8) == b"THE NEXT"


def test_status_at_the_limit_after_a_rest(folder: Path) -> None:
    """If max_children children wait already, connections after a long rest still show in STATUS."""
    with running(folder, *_all(2), "--spare-children", "2") as daemon, contextlib.ExitStack() as until:
        daemon.manager.socket.settimeout(2 * STATUS_SECONDS)
        with contextlib.suppress(TimeoutError):
            while daemon.manager.socket.recv(4096):
                pass  # until there is nothing left to say, and the daemon sleeps
        _hold(daemon, 2, until)
        daemon.manager.wait_for("STATUS=2 busy, 0 spare of 2")


def test_never_more_children_than_the_limit(folder: Path) -> None:
    """However many clients come, there are never more than max_children children, and every client is served."""
    most = 0
    with running(folder, "--max-children", "3", "--spare-children", "3") as daemon, contextlib.ExitStack() as until:
        clients = [until.enter_context(daemon.connect()) for _ in range(30)]
        for client in clients:
            client.sendall(b"x")
            client.shutdown(socket.SHUT_WR)
        for client in clients:
            assert read_to_end(client) == b"X"
            most = max(most, len(daemon.children()))
    assert most <= 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_at_the_limit(folder: Path, number: signal.Signals) -> None:
    """At the limit SIGTERM and SIGINT take effect at once: quiet connections end, and so does the daemon."""
    with running(folder, *_all(2)) as daemon, contextlib.ExitStack() as until:
        held = _hold(daemon, 2, until)
        daemon.signal(number)
        daemon.manager.wait_for("STOPPING=1")
        assert [read_to_end(client) for client in held] == [b"", b""]
        assert daemon.wait() == 0
    assert "cut=0 killed=0" in daemon.log.splitlines()[-1]


def test_queued_clients_are_served_at_the_end(folder: Path) -> None:
    """After SIGTERM at the limit quiet connections make room, and clients already queued are served before the end."""
    with running(folder, *_all(2), "--drain-timeout", "20") as daemon, contextlib.ExitStack() as until:
        held = _hold(daemon, 2, until)
        queued = [until.enter_context(daemon.connect()) for _ in range(5)]
        for client in queued:
            client.sendall(b"queued")
            client.shutdown(socket.SHUT_WR)
        daemon.signal(signal.SIGTERM)
        assert [read_to_end(client) for client in held] == [b"", b""]
        assert [read_to_end(client) for client in queued] == [b"QUEUED"] * 5
        assert daemon.wait() == 0
    assert "cut=0 killed=0" in daemon.log.splitlines()[-1]


def test_listeners_share_the_limit(folder: Path) -> None:
    """While one listener has more clients than there are children, another listener's clients get their turns."""
    options = ("--max-children", "4", "--spare-children", "2", "--tcp", "127.0.0.1:0")
    with running(folder, *options) as daemon, contextlib.ExitStack() as until:
        crowd = [until.enter_context(daemon.connect()) for _ in range(20)]
        for client in crowd:
            client.sendall(b"x")
        wait_until(lambda: daemon.board.busy >= 2, "the crowd is served")
        port = _tcp_port(daemon)
        waiting = [until.enter_context(socket.create_connection(("127.0.0.1", port), DEADLINE)) for _ in range(10)]
        for client in crowd:
            client.shutdown(socket.SHUT_WR)
        for client in waiting:
            assert ask_on(client, b"tcp") == b"TCP"


def test_no_listener_is_left_unserved(folder: Path) -> None:
    """With fewer children than listeners the start is refused with the reason, or every listener is served."""
    options = ("--max-children", "1", "--tcp", "127.0.0.1:0")
    with running(folder, *options, ready=False) as daemon:
        wait_until(lambda: "ready:" in daemon.log or daemon.process.poll() is not None, "it is ready, or ends")
        if daemon.process.poll() is not None:
            assert "max-children" in daemon.log
            return
        port = _tcp_port(daemon)
        for _ in range(2):
            assert daemon.ask(b"unix") == b"UNIX"
            with socket.create_connection(("127.0.0.1", port), DEADLINE) as client:
                assert ask_on(client, b"tcp") == b"TCP"
