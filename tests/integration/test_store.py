"""--store-listeners: a listener that the daemon bound outlives it, with the clients in its queue."""

from __future__ import annotations

import math
import signal
import socket
import time
from pathlib import Path
from typing import Any

from running import DEADLINE, Daemon, activated, can_read, free_port, read_to_end, running, wait_until


def _stored(daemon: Daemon, count: int) -> dict[str, socket.socket]:
    """The descriptors in the manager's store, once there are `count` of them."""
    wait_until(lambda: len(daemon.manager.stored) == count, "the listeners are stored")
    taken, daemon.manager.stored = daemon.manager.stored, {}
    return taken


def _restart(folder: Path, stored: dict[str, socket.socket], *options: str) -> dict[str, Any]:
    """Arguments of `running` for the next daemon, which gets the stored descriptors."""
    options = ("--socket", str(folder / "upperd.sock"), "--no-fallback", "--store-listeners", *options)
    return activated(folder, list(stored.values()), *options, names=":".join(stored))


def _queue(path: Path) -> socket.socket:
    """A client that has sent everything before it is accepted."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(DEADLINE)
    connection.connect(str(path))
    connection.sendall(b"queued")
    connection.shutdown(socket.SHUT_WR)
    return connection


def test_queue_outlives_the_daemon(folder: Path) -> None:
    """A client that connects after the daemon is killed is answered by the next one, through the same listener."""
    with running(folder, "--store-listeners") as daemon:
        stored = _stored(daemon, 1)
        inode = daemon.path.stat().st_ino
        daemon.kill()
        client = _queue(daemon.path)
    with client, running(folder, **_restart(folder, stored)) as daemon:
        assert read_to_end(client) == b"QUEUED"
        assert daemon.path.stat().st_ino == inode
        assert daemon.ask(b"x") == b"X"
    for listener in stored.values():
        listener.close()


def test_path_stays_when_the_daemon_ends(folder: Path) -> None:
    """SIGTERM leaves the path of a stored listener, so a client before the next start waits and does not fail."""
    with running(folder, "--store-listeners") as daemon:
        stored = _stored(daemon, 1)
        assert daemon.stop() == 0
        client = _queue(daemon.path)
    with client, running(folder, **_restart(folder, stored)):
        assert read_to_end(client) == b"QUEUED"
    for listener in stored.values():
        listener.close()


def test_drain_under_clients_without_pause(folder: Path) -> None:
    """At SIGTERM the drain does not wait for a queue that is never empty: the next daemon serves the rest."""
    waiting: list[socket.socket] = []
    began = math.inf
    with running(folder, "--store-listeners", "--max-children", "2", "--drain-timeout", "60") as daemon:
        stored = _stored(daemon, 1)
        while daemon.process.poll() is None:
            waiting.append(_queue(daemon.path))
            if len(waiting) == 50:
                daemon.signal(signal.SIGTERM)
                began = time.monotonic()
            if len(waiting) > 50:
                _answer_one(waiting, daemon)
    assert waiting
    assert time.monotonic() - began < 50
    with running(folder, **_restart(folder, stored)):
        assert [read_to_end(client) for client in waiting] == [b"QUEUED"] * len(waiting)
    for closable in (*waiting, *stored.values()):
        closable.close()


def _answer_one(waiting: list[socket.socket], daemon: Daemon) -> None:
    """Let the client that waits longest get its answer, if the daemon still gives one."""
    first = waiting[0]
    wait_until(lambda: can_read(first) or daemon.process.poll() is not None, "an answer, or its end")
    if can_read(first):
        assert read_to_end(first) == b"QUEUED"
        waiting.pop(0).close()


def test_path_that_is_another_by_now(folder: Path) -> None:
    """A stored listener that its path no longer names is dropped from the store, and the path is bound anew."""
    with running(folder, "--store-listeners") as daemon:
        stored = _stored(daemon, 1)
        name = next(iter(stored))
        daemon.kill()
        daemon.path.unlink()
    with running(folder, **_restart(folder, stored)) as daemon:
        assert daemon.ask(b"x") == b"X"
        messages = daemon.manager.messages
        assert messages[messages.index("FDSTOREREMOVE=1") + 1] == f"FDNAME={name}"
        assert name not in daemon.manager.stored
    for listener in stored.values():
        listener.close()


def test_tcp_listener_is_stored_too(folder: Path) -> None:
    """A TCP listener is restored by its address; with another address it is dropped."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    with running(folder, "--store-listeners", "--tcp", address) as daemon:
        stored = _stored(daemon, 2)
        daemon.kill()
        client = socket.create_connection(("127.0.0.1", port), DEADLINE)
        client.sendall(b"queued")
        client.shutdown(socket.SHUT_WR)
    with client, running(folder, **_restart(folder, stored, "--tcp", address)) as daemon:
        assert read_to_end(client) == b"QUEUED"
        assert "FDSTOREREMOVE=1" not in daemon.manager.messages
        again = _stored(daemon, 2)
        assert daemon.stop() == 0
    for listener in stored.values():
        listener.close()
    with running(folder, **_restart(folder, again)) as daemon:
        assert f"FDNAME=bound.127.0.0.1.{port}" in daemon.manager.messages
        assert len(daemon.board.listeners) == 1
    for listener in again.values():
        listener.close()


def test_socket_unit_wins(folder: Path) -> None:
    """If a socket unit passes listeners, those of the store are dropped, since the unit's path counts."""
    with running(folder, "--store-listeners") as daemon:
        stored = _stored(daemon, 1)
        daemon.kill()
    (name,) = stored
    with socket.socket(socket.AF_UNIX) as unit:
        daemon.path.unlink()
        unit.bind(str(daemon.path))
        unit.listen(10)
        passed = activated(folder, [unit, stored[name]], names=f"upperd.socket:{name}")
        with running(folder, **passed) as daemon:
            assert daemon.ask(b"x") == b"X"
            assert f"FDNAME={name}" in daemon.manager.messages
            assert daemon.board.listeners == [f"unix:{daemon.path} (activated as upperd.socket)"]
    stored[name].close()
