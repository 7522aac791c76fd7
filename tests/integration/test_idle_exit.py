"""--idle-exit: the daemon leaves when it is not needed, and no client notices."""

from __future__ import annotations

import select
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import DEADLINE, activated, ask_on, can_read, running, wait_until

CYCLES = 40


@pytest.fixture
def listener(folder: Path) -> Iterator[socket.socket]:
    """A socket as a socket unit holds it."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "upperd.sock"))
        listener.listen(100)
        yield listener


def _connect(listener: socket.socket) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(DEADLINE)
    connection.connect(listener.getsockname())
    return connection


def test_leaves_when_idle(folder: Path, listener: socket.socket) -> None:
    """Without a connection for that time the daemon ends with status 0, and says so."""
    with running(folder, **activated(folder, [listener], "--idle-exit", "0.3")) as daemon:
        daemon.manager.wait_for("STOPPING=1")
        assert daemon.wait() == 0
    assert "idle: nothing to do for 0.3 s" in daemon.log
    assert (folder / "upperd.sock").exists()


def test_stays_while_a_client_is_connected(folder: Path, listener: socket.socket) -> None:
    """An open connection keeps the daemon, however quiet it is; the time counts from its end."""
    client = _connect(listener)  # before the daemon starts, or it might leave before we come
    client.sendall(b"held")
    with running(folder, **activated(folder, [listener], "--idle-exit", "0.2")) as daemon:
        with client:
            assert client.recv(8) == b"HELD"
            with pytest.raises(subprocess.TimeoutExpired):
                daemon.process.wait(1.0)
            client.sendall(b"still")
            assert client.recv(8) == b"STILL"
        assert daemon.wait() == 0


def test_reused_children_count(folder: Path, listener: socket.socket) -> None:
    """Connections of a reused child keep the daemon, even if no child ends."""
    options = ("--idle-exit", "3", "--connections-per-child", "1000000", "--spare-children", "1")
    with running(folder, **activated(folder, [listener], *options)) as daemon:
        for _ in range(40):  # longer than three seconds
            with _connect(listener) as client:
                assert ask_on(client, b"x") == b"X"
            select.select([], [], [], 0.1)
        assert daemon.process.poll() is None
        assert daemon.wait() == 0


def test_nobody_notices(folder: Path, listener: socket.socket) -> None:
    """A client that connects at the moment of exit is served, by this daemon or by the next one."""
    moments = [0.1 + 0.004 * (number % 12) for number in range(CYCLES)]
    moments.insert(CYCLES // 2, 1.0)  # it has left at least once, however slow the host is
    starts = 0
    while moments:
        starts += 1
        with running(folder, ready=False, **activated(folder, [listener], "--idle-exit", "0.1")) as daemon:
            while moments and daemon.process.poll() is None:
                select.select([], [], [], moments.pop())
                with _connect(listener) as client:
                    client.sendall(b"now")
                    client.shutdown(socket.SHUT_WR)
                    wait_until(lambda: can_read(client) or daemon.process.poll() is not None, "it answers, or leaves")
                    if not can_read(client):
                        # As the manager does: start the daemon again for the clients in the queue.
                        with running(folder, **activated(folder, [listener])):
                            assert client.recv(8) == b"NOW"
                    else:
                        assert client.recv(8) == b"NOW"
        assert daemon.process.returncode in (0, -signal.SIGKILL)  # it left, or the test was over
    assert starts > 1, "it never left"


def test_ignored_where_nobody_would_start_us_again(folder: Path) -> None:
    """A daemon that has bound its own path stays, and says that the option is ignored."""
    with running(folder, "--idle-exit", "0.1") as daemon:
        assert "idle-exit is ignored" in daemon.log
        with pytest.raises(subprocess.TimeoutExpired):
            daemon.process.wait(1.0)
        assert daemon.ask(b"x") == b"X"


def test_sigterm_while_leaving(folder: Path, listener: socket.socket) -> None:
    """Repeated SIGTERM while the daemon leaves, to the last instant, still ends it with status 0."""
    with running(folder, **activated(folder, [listener], "--idle-exit", "0.05")) as daemon:
        wait_until(lambda: "idle:" in daemon.log or daemon.process.poll() is not None, "it leaves")
        while daemon.process.poll() is None:
            daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0, daemon.log
