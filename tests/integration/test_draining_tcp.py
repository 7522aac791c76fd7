"""SIGTERM on TCP, where no path can be removed to keep newcomers out."""

from __future__ import annotations

import errno
import select
import signal
import socket
import threading
from pathlib import Path

from running import DEADLINE, ask_on, free_port, read_exactly, read_to_end, running, wait_until
from transfers import continuing

STOPS = 4


def _refuses(port: int) -> bool:
    with socket.socket() as newcomer:
        newcomer.settimeout(DEADLINE)
        try:
            newcomer.connect(("127.0.0.1", port))
        except ConnectionRefusedError:
            return True
        return False


def test_newcomer_is_refused_while_others_are_served(folder: Path) -> None:
    """A client that connects while a transfer is being finished is refused at once, not kept waiting and then reset."""
    port = free_port()
    with (
        running(folder, "--tcp", f"127.0.0.1:{port}") as daemon,
        socket.create_connection(("127.0.0.1", port), DEADLINE) as upload,
    ):
        upload.sendall(b"begin ")
        assert read_exactly(upload, 6) == b"BEGIN "
        with continuing(upload) as sent:
            daemon.signal(signal.SIGTERM)
            daemon.manager.wait_for("STOPPING=1")
            wait_until(lambda: _refuses(port), "newcomers are refused", DEADLINE / 2)  # long before the deadline
        upload.shutdown(socket.SHUT_WR)
        assert read_to_end(upload) == b"X" * sent[0]
        assert daemon.wait() == 0


def test_client_amid_its_handshake_is_served(folder: Path) -> None:
    """A client that has begun to connect when the daemon is stopped is served, not reset."""
    port = free_port()
    with running(folder, "--tcp", f"127.0.0.1:{port}") as daemon, socket.socket() as client:
        client.setsockopt(socket.IPPROTO_IP, 21, 255)  # IP_MINTTL: the daemon's packets are dropped
        client.setblocking(False)
        assert client.connect_ex(("127.0.0.1", port)) == errno.EINPROGRESS
        daemon.signal(signal.SIGTERM)
        daemon.manager.wait_for("STOPPING=1")
        client.setsockopt(socket.IPPROTO_IP, 21, 0)  # the daemon's packet comes again in a second
        client.settimeout(DEADLINE)
        assert select.select([], [client], [], DEADLINE)[1]
        assert ask_on(client, b"question") == b"QUESTION"
        assert daemon.wait() == 0


def test_stops_lose_nobody(folder: Path) -> None:
    """Of clients that connect without pause while the daemon is stopped again and again, each is refused or served."""
    port = free_port()
    lost: list[str] = []
    answered = [0]
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                client = socket.create_connection(("127.0.0.1", port), DEADLINE)
            except ConnectionRefusedError:
                continue
            with client:
                try:
                    answer = ask_on(client, b"question")
                except OSError as error:
                    answer = repr(error).encode()
                if answer != b"QUESTION":
                    lost.append(repr(answer))
                answered[0] += 1

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        for _ in range(STOPS):
            with running(folder, "--tcp", f"127.0.0.1:{port}") as daemon:
                before = answered[0]
                wait_until(lambda before=before: answered[0] > before + 20, "clients are served")  # type: ignore[misc]
                assert daemon.stop() == 0
    finally:
        over.set()
        for client in clients:
            client.join(DEADLINE)
    assert lost == []
