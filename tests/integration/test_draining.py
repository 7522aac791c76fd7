"""SIGTERM: within the time limit, nothing that was begun is lost."""

import re
import signal
import socket
import threading
from pathlib import Path

import pytest
from running import Daemon, activated, is_full, read_exactly, read_to_end, running, wait_until


def test_idle_daemon_ends_at_once(daemon: Daemon) -> None:
    """Without a client the daemon ends with status 0, and its children with it."""
    children = daemon.children()
    assert daemon.stop() == 0
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []


def test_quiet_connection_is_ended(daemon: Daemon) -> None:
    """A quiet connection is ended without waiting."""
    with daemon.held() as idle:
        daemon.signal(signal.SIGTERM)
        assert idle.recv(1) == b""
    assert daemon.wait() == 0
    assert "cut=0" in daemon.log


def test_transfer_under_way_is_finished(daemon: Daemon) -> None:
    """An upload that continues after SIGTERM is served to its end of file."""
    with daemon.connect() as upload:
        upload.sendall(b"begin ")
        assert read_exactly(upload, 6) == b"BEGIN "
        daemon.signal(signal.SIGTERM)
        daemon.manager.wait_for("STOPPING=1")
        for _ in range(200):
            upload.sendall(b"x" * 10_000)
            assert read_exactly(upload, 10_000) == b"X" * 10_000
        upload.shutdown(socket.SHUT_WR)
        assert read_to_end(upload) == b""
    assert daemon.wait() == 0


def test_unfinished_character_is_waited_for(daemon: Daemon) -> None:
    """A client in the middle of a character is not quiet: the second half is answered."""
    with daemon.connect() as client:
        client.sendall(b"a\xc3")
        assert client.recv(1) == b"A"
        daemon.signal(signal.SIGTERM)
        daemon.manager.wait_for("STOPPING=1")
        client.sendall(b"\xa9")
        assert read_to_end(client) == "É".encode()


@pytest.mark.parametrize("family", ["unix", "tcp"])
def test_deadline_cuts(folder: Path, family: str) -> None:
    """At the deadline a transfer is cut: what was received is answered, the client sees an end, the log counts it."""
    with running(folder, "--drain-timeout", "1", "--tcp", "127.0.0.1:0") as daemon:
        port = int(re.findall(r"tcp:127.0.0.1:(\d+)", " ".join(daemon.board.listeners))[0])
        client = daemon.connect() if family == "unix" else socket.create_connection(("127.0.0.1", port), 30)
        with client:
            sent, received = _send_until_refused(client, daemon)
            assert daemon.wait() == 0
    assert received <= sent
    if family == "unix":
        assert received == sent, "every byte that the kernel had taken is answered"
    assert "cut=1" in daemon.log.splitlines()[-1]


def _send_until_refused(client: socket.socket, daemon: Daemon) -> tuple[int, int]:
    """Keep sending after SIGTERM until the daemon ends the connection; return the bytes taken, and those answered."""
    sent = received = 0
    client.sendall(b"x")
    sent += 1
    received += len(client.recv(1))
    daemon.signal(signal.SIGTERM)
    while True:
        try:
            sent += client.send(b"x" * 100)
        except ConnectionError:
            break
        block = client.recv(65536)
        if not block:
            break
        received += len(block)
    try:
        received += len(read_to_end(client))
    except ConnectionError:
        pass
    return sent, received


def test_second_signal_ends_at_once(daemon: Daemon) -> None:
    """A second SIGTERM ends the daemon before the deadline, even during a transfer."""
    with daemon.connect() as client:
        client.sendall(b"a\xc3")
        assert client.recv(1) == b"A"
        daemon.signal(signal.SIGTERM)
        daemon.manager.wait_for("STOPPING=1")
        daemon.signal(signal.SIGTERM)
        assert read_to_end(client) == b"\xc3"
    assert daemon.wait() == 0
    assert "cut=1" in daemon.log.splitlines()[-1]


def test_reader_that_never_reads_is_killed_at_the_deadline(folder: Path) -> None:
    """A client that sends and never reads delays the daemon to the deadline and no longer."""
    with running(folder, "--drain-timeout", "0.5") as daemon, daemon.connect() as client:
        client.setblocking(False)
        wait_until(lambda: is_full(client), "every buffer is full")
        assert daemon.stop() == 0
        assert "killed=1" in daemon.log.splitlines()[-1]


def test_restarts_lose_nothing(folder: Path) -> None:
    """Over twenty restarts on a passed socket, clients that connect, ask and leave all get their whole answer."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "upperd.sock"))
    listener.listen(socket.SOMAXCONN)
    failures: list[str] = []
    answered = [0]
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(30)
                client.connect(str(folder / "upperd.sock"))
                client.sendall(b"question")
                client.shutdown(socket.SHUT_WR)
                answer = read_to_end(client)
            answered[0] += 1
            if answer != b"QUESTION":
                failures.append(repr(answer))

    asking = threading.Thread(target=ask)
    with listener:
        started = False
        for _ in range(20):
            (folder / "log").unlink(missing_ok=True)
            with running(folder, **activated(folder, [listener])) as daemon:
                if not started:
                    asking.start()
                    started = True
                before = answered[0]
                wait_until(lambda before=before: answered[0] > before + 5, "clients are served")  # type: ignore[misc]
                assert daemon.stop() == 0
        over.set()
        with running(folder, **activated(folder, [listener])):
            asking.join(30)
    assert failures == []
    assert answered[0] > 100
