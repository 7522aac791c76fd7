"""Datagram sockets from a service manager, and the fate of datagrams when the daemon stops."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from datagrams import ask, at, records, sender, serving
from running import DEADLINE, activated, free_port, read_to_end, running, wait_until

from upperd.server.snapshot import read


def _bound(address: str | tuple[str, int]) -> socket.socket:
    """A socket as a socket unit makes it (ListenDatagram=, PassCredentials=yes)."""
    sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(address)
    if isinstance(address, str):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return sock


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Sockets that the test closes at its end."""
    with ExitStack() as stack:
        yield stack


def test_passed_sockets_are_served(folder: Path, stack: ExitStack) -> None:
    """Passed datagram sockets are served beside stream sockets; datagrams queued before the start are answered."""
    unix, udp = stack.enter_context(_bound(str(at(folder)))), stack.enter_context(_bound(("127.0.0.1", 0)))
    stream = stack.enter_context(socket.socket(socket.AF_UNIX))
    stream.bind(str(folder / "upperd.sock"))
    stream.listen()
    clients = [stack.enter_context(sender(to)) for to in (at(folder), udp.getsockname())]
    for client in clients:
        client.send(b"before")
    with running(folder, **activated(folder, [unix, stream, udp], names="one:two:three")) as daemon:
        assert [client.recv(16) for client in clients] == [b"BEFORE"] * 2
        assert daemon.ask(b"stream") == b"STREAM"
        assert [line.partition(":")[0] for line in daemon.board.listeners] == ["unix-dgram", "unix", "udp"]
        assert daemon.stop() == 0
    assert at(folder).is_socket()
    for client in clients:
        client.send(b"after")
    with running(folder, **activated(folder, [unix, stream, udp])):
        assert [client.recv(16) for client in clients] == [b"AFTER"] * 2


def test_sender_from_before_is_unknown(folder: Path, stack: ExitStack) -> None:
    """A datagram queued before the socket had SO_PASSCRED has an unknown sender, not the user nobody."""
    unix = stack.enter_context(_bound(str(at(folder))))
    unix.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 0)
    client = stack.enter_context(sender(at(folder)))
    client.send(b"before")
    with running(folder, **activated(folder, [unix], "--socket", str(folder / "upperd.sock"))) as daemon:
        assert client.recv(16) == b"BEFORE"
        assert ask(client, b"after") == b"AFTER"
        assert daemon.stop() == 0
    # Each is served by a child of its own, and either may be reaped first.
    assert {record.get("peer_uid") for record in records(daemon)} == {None, str(os.geteuid())}


@pytest.mark.parametrize("kind", ["not bound", "connected", "sequenced"])
def test_useless_socket_is_named(folder: Path, stack: ExitStack, kind: str) -> None:
    """A passed socket that cannot receive datagrams, or only from one peer, ends the start with status 78."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    useless = {
        "not bound": socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "connected": pair[0],
        "sequenced": socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET),
    }
    for sock in (*pair, *useless.values()):
        stack.enter_context(sock)
    with running(folder, ready=False, **activated(folder, [useless[kind]], names="odd")) as daemon:
        assert daemon.wait() == 78
        assert "descriptor 3 (odd)" in daemon.log


def test_drain_answers_what_is_queued(folder: Path, stack: ExitStack) -> None:
    """SIGTERM loses no datagram that the kernel has queued, on the path and by UDP: each is answered before the end."""
    port = free_port()
    clients = [stack.enter_context(sender(to)) for _ in range(4) for to in (("127.0.0.1", port),)]
    with serving(folder, "--udp", f"127.0.0.1:{port}", "--max-children", "3") as daemon:
        clients += [stack.enter_context(sender(at(folder))) for _ in range(4)]
        children = daemon.children()
        for child in children:
            os.kill(child, signal.SIGSTOP)
        for number, client in enumerate(clients):
            client.send(b"queued %d" % number)
        daemon.signal(signal.SIGTERM)
        wait_until(lambda: not at(folder).exists(), "the drain has begun")
        for child in children:
            with contextlib.suppress(ProcessLookupError):  # killed, since it has not begun within a second
                os.kill(child, signal.SIGCONT)
        assert [client.recv(16) for client in clients] == [b"QUEUED %d" % number for number in range(8)]
        assert daemon.wait() == 0


def test_stopping_loses_none(folder: Path, stack: ExitStack) -> None:
    """Reloads and restarts under load lose no datagram of a passed socket: one daemon or the next answers each."""
    unix = stack.enter_context(_bound(str(at(folder))))
    over = threading.Event()
    pool = stack.enter_context(ThreadPoolExecutor(4))
    stack.callback(over.set)
    asking = [pool.submit(_ask_until, over, at(folder), number) for number in range(4)]
    for number in range(6):
        options = ("--connections-per-child", str(1 + 5 * (number % 2)))
        with running(folder, **activated(folder, [unix], *options)) as daemon:
            for word in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
                served = _served(folder)
                wait_until(lambda: _served(folder) >= served + 20, "it serves")  # noqa: B023
                daemon.signal(word)
            assert daemon.wait() == 0
    with running(folder, **activated(folder, [unix])):
        over.set()
        assert sum(count.result(DEADLINE) for count in asking) >= 6 * 60


def _served(folder: Path) -> int:
    return read(str(folder / "datagram.scoreboard")).header["connections"]


def _ask_until(over: threading.Event, path: Path, number: int) -> int:
    """Send one datagram after the other, each when the last one was answered. Return how many."""
    count = 0
    with sender(path) as client:
        while not over.is_set():
            text = b"client %d text %d" % (number, count)
            assert ask(client, text) == text.upper()
            count += 1
    return count


def test_idle_daemon_leaves(folder: Path, stack: ExitStack) -> None:
    """With --idle-exit the daemon leaves when no datagram came for that time; the next one gets the next datagram."""
    unix = stack.enter_context(_bound(str(at(folder))))
    client = stack.enter_context(sender(at(folder)))
    client.send(b"one")  # before the daemon starts, or it might leave before we come
    with running(folder, **activated(folder, [unix], "--idle-exit", "1")) as daemon:
        assert client.recv(16) == b"ONE"
        assert daemon.wait() == 0
        assert " idle: " in daemon.log
    client.send(b"two")
    with running(folder, **activated(folder, [unix])):
        assert client.recv(16) == b"TWO"


def test_store_keeps_datagrams(folder: Path, stack: ExitStack) -> None:
    """With --store-listeners the next daemon answers what is sent while no daemon runs, on both sockets."""
    port = free_port()
    options = ("--udp", f"127.0.0.1:{port}", "--tcp", f"127.0.0.1:{port}", "--store-listeners")
    clients = [stack.enter_context(sender(("127.0.0.1", port)))]
    with serving(folder, *options) as daemon:
        wait_until(lambda: len(daemon.manager.stored) == 4, "the listeners are stored")
        stored, daemon.manager.stored = daemon.manager.stored, {}
        clients.append(stack.enter_context(sender(at(folder))))
        inode = at(folder).stat().st_ino
        daemon.kill()
        for client in clients:
            client.send(b"between")
    for sock in stored.values():
        stack.enter_context(sock)
    command = ("--socket", str(folder / "upperd.sock"), "--datagram", str(at(folder)), "--no-fallback", *options)
    with running(folder, **activated(folder, list(stored.values()), *command, names=":".join(stored))) as daemon:
        assert [client.recv(16) for client in clients] == [b"BETWEEN"] * 2
        assert at(folder).stat().st_ino == inode
        with socket.create_connection(("127.0.0.1", port), DEADLINE) as client:
            client.sendall(b"x")
            client.shutdown(socket.SHUT_WR)
            assert read_to_end(client) == b"X"
