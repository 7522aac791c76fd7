"""--idle-timeout, --max-lifetime, --max-bytes: the limits of one connection."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from pathlib import Path

import pytest
from running import DEADLINE, Daemon, free_port, is_full, read_exactly, read_to_end, running, wait_until

KINDS = ["unix", "tcp"]


class _Place:
    """A daemon with limits, and a function that connects to it in the given way."""

    def __init__(self, daemon: Daemon, port: int) -> None:
        self.daemon = daemon
        self.port = port

    def connect(self, kind: str) -> socket.socket:
        if kind == "unix":
            return self.daemon.connect()
        return socket.create_connection(("127.0.0.1", self.port), DEADLINE)


def _options(port: int, *options: str) -> tuple[str, ...]:
    return (*options, "--tcp", f"127.0.0.1:{port}")


def _end(client: socket.socket) -> bytes:
    """What is left to read; a reset counts as an end, too."""
    try:
        return read_to_end(client)
    except ConnectionResetError:
        return b""


def _counted(daemon: Daemon, name: str) -> None:
    wait_until(lambda: daemon.board.header[f"ended_{name}"] == 1, "it is counted")
    outcome = "denied" if name == "access" else name
    wait_until(lambda: f"outcome={outcome}" in daemon.log, "its record says why")


@pytest.mark.parametrize("kind", KINDS)
def test_idle_connection(folder: Path, kind: str) -> None:
    """An idle connection is ended after the time-out, not before, and its unfinished character is answered."""
    port = free_port()
    with running(folder, *_options(port, "--idle-timeout", "1")) as daemon:
        began = time.monotonic()
        with _Place(daemon, port).connect(kind) as client:
            client.sendall(b"a\xc3")
            assert client.recv(1) == b"A"
            assert _end(client) == b"\xc3"
            assert time.monotonic() - began > 0.9
        _counted(daemon, "idle")


@pytest.mark.parametrize("kind", KINDS)
def test_connection_that_never_says_a_word(folder: Path, kind: str) -> None:
    """A connection that sends nothing at all is idle, too."""
    port = free_port()
    with running(folder, *_options(port, "--idle-timeout", "0.5")) as daemon:
        with _Place(daemon, port).connect(kind) as client:
            assert _end(client) == b""
        _counted(daemon, "idle")


@pytest.mark.parametrize("kind", KINDS)
def test_busy_connection_is_not_idle(folder: Path, kind: str) -> None:
    """A connection with traffic now and then lasts longer than the idle time-out."""
    port = free_port()
    with running(folder, *_options(port, "--idle-timeout", "4")) as daemon:
        with _Place(daemon, port).connect(kind) as client:
            for _ in range(25):
                client.sendall(b"x")
                assert client.recv(1) == b"X"
                select.select([], [], [], 0.2)
        assert daemon.board.header["ended_idle"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_client_that_never_reads(folder: Path, kind: str) -> None:
    """A client that sends and never reads is idle once the buffers are full, and its child becomes free."""
    port = free_port()
    with running(folder, *_options(port, "--idle-timeout", "1", "--max-children", "8")) as daemon:
        with _Place(daemon, port).connect(kind) as client:
            client.setblocking(False)
            with contextlib.suppress(ConnectionError):  # it has ended already: they were full
                wait_until(lambda: is_full(client), "the buffers are full")
            _counted(daemon, "idle")
            wait_until(lambda: not daemon.board.busy, "its child has ended")
        assert daemon.ask(b"x") == b"X"


def test_slow_reader_is_not_idle(folder: Path) -> None:
    """A client that reads slowly but steadily gets everything, however long it takes."""
    size = 2 << 20
    with running(folder, "--idle-timeout", "4") as daemon, daemon.connect() as client:
        pid = os.fork()
        if pid == 0:
            try:
                client.sendall(b"x" * size)
                client.shutdown(socket.SHUT_WR)
            finally:
                os._exit(0)
        received = 0
        while received < size:
            block = read_exactly(client, 65536)
            assert block
            received += len(block)
            select.select([], [], [], 0.2)
        assert client.recv(1) == b""
        assert os.waitpid(pid, 0)[1] == 0
    assert daemon.board.header["ended_idle"] == 0


@pytest.mark.parametrize("kind", KINDS)
def test_lifetime(folder: Path, kind: str) -> None:
    """A connection is ended at the end of its lifetime, however busy it is, and all that was received is answered."""
    port = free_port()
    with running(folder, *_options(port, "--max-lifetime", "1")) as daemon:
        began = time.monotonic()
        with _Place(daemon, port).connect(kind) as client:
            try:
                while client.send(b"y") and client.recv(1):
                    assert time.monotonic() < began + DEADLINE
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert time.monotonic() - began > 0.9
        _counted(daemon, "lifetime")


def test_quiet_connection_at_the_end_of_its_lifetime(folder: Path) -> None:
    """A connection that waits for its client is ended at the end of its lifetime, too."""
    with running(folder, "--max-lifetime", "1") as daemon:
        with daemon.held() as client:
            assert _end(client) == b""
        _counted(daemon, "lifetime")


@pytest.mark.parametrize("kind", KINDS)
def test_lifetime_of_a_connection_that_falls_quiet(folder: Path, kind: str) -> None:
    """The lifetime ends on time, whenever the client last sent something."""
    port = free_port()
    with running(folder, *_options(port, "--max-lifetime", "2")) as daemon:
        began = time.monotonic()
        with _Place(daemon, port).connect(kind) as client:
            with contextlib.suppress(ConnectionError):  # it may end while we speak, on a slow machine
                while time.monotonic() < began + 1.7:
                    client.sendall(b"y")
                    client.recv(1)
                assert _end(client) == b""
            assert time.monotonic() < began + DEADLINE
        _counted(daemon, "lifetime")


@pytest.mark.parametrize("kind", KINDS)
def test_bytes(folder: Path, kind: str) -> None:
    """A connection that sends more than the limit is ended; the bytes up to the limit are answered, and no others."""
    port = free_port()
    with running(folder, *_options(port, "--max-bytes", "100000")) as daemon:
        with _Place(daemon, port).connect(kind) as client:
            pid = os.fork()
            if pid == 0:
                try:
                    client.sendall(b"z" * 3_000_000)
                except OSError:
                    pass
                os._exit(0)
            received = b""
            try:
                while block := client.recv(65536):
                    received += block
            except ConnectionResetError:
                pass
            os.waitpid(pid, 0)
        assert received == b"Z" * 100_000
        _counted(daemon, "bytes")


def test_exactly_the_bytes_that_are_allowed(folder: Path) -> None:
    """A connection that sends exactly the limit ends like any other."""
    with running(folder, "--max-bytes", "1000", "--connections-per-child", "1") as daemon:
        assert daemon.ask(b"a" * 1000) == b"A" * 1000
        wait_until(lambda: daemon.board.header["ended"] == 1, "its child has ended")
        assert daemon.board.header["ended_bytes"] == 0
        wait_until(lambda: "outcome=done" in daemon.log, "its end is logged")


def test_each_connection_of_a_child_has_its_own(folder: Path) -> None:
    """A reused child gives every connection the full limits."""
    options = ("--connections-per-child", "100", "--spare-children", "1", "--max-bytes", "10", "--idle-timeout", "60")
    with running(folder, *options) as daemon:
        for _ in range(20):
            assert daemon.ask(b"0123456789") == b"0123456789"
        assert daemon.board.header["ended_bytes"] == 0


def test_idle_connections_one_after_the_other(folder: Path) -> None:
    """A quiet connection is ended after its own idle time, whatever time the earlier connections took."""
    options = ("--max-children", "1", "--connections-per-child", "100", "--idle-timeout", "2")
    with running(folder, *options) as daemon:
        for _ in range(3):
            assert daemon.ask(b"x") == b"X"
            began = time.monotonic()
            with daemon.connect() as client:
                assert _end(client) == b""
            assert time.monotonic() - began > 1.9
        wait_until(lambda: daemon.board.header["ended_idle"] == 3, "all are counted")


@pytest.mark.parametrize("kind", KINDS)
def test_next_connection_after_one_that_was_ended(folder: Path, kind: str) -> None:
    """After a connection that was ended at a limit, the next one is served normally."""
    port = free_port()
    options = ("--max-children", "2", "--connections-per-child", "100", "--max-bytes", "3")
    with running(folder, *_options(port, *options)) as daemon:
        for _ in range(3):
            with _Place(daemon, port).connect(kind) as client:
                client.sendall(b"abcd")
                assert _end(client) == b"ABC"
        wait_until(lambda: daemon.board.header["ended_bytes"] == 3, "all are counted")
        assert daemon.board.header["crashed"] == 0


def test_limits_are_changed_by_a_reload(folder: Path) -> None:
    """After a reload every connection has the new limits, existing ones included."""
    config = folder / "upperd.toml"
    config.write_text("idle-timeout = 60\n")
    with running(folder, "--config", str(config)) as daemon, daemon.held() as before:
        config.write_text("idle-timeout = 0.5\n")
        daemon.signal(signal.SIGHUP)
        daemon.manager.wait_for("RELOADING=1")
        daemon.manager.wait_for("READY=1")
        assert _end(before) == b""
        config.write_text("idle-timeout = 60\n")
        daemon.signal(signal.SIGHUP)
        daemon.manager.wait_for("RELOADING=1")
        daemon.manager.wait_for("READY=1")
        with daemon.held() as after:
            assert select.select([after], [], [], 2)[0] == []


def test_drain_goes_before_the_limits(folder: Path) -> None:
    """While the daemon drains, a quiet connection ends at once, whatever its idle time-out is."""
    with running(folder, "--idle-timeout", "600", "--max-lifetime", "600") as daemon, daemon.held() as client:
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        assert _end(client) == b""
        assert daemon.wait() == 0
        assert time.monotonic() - began < DEADLINE
    assert "outcome=quiet" in daemon.log


def test_unfinished_character_in_a_drain(folder: Path) -> None:
    """A drain ends a quiet connection that is in the middle of a character, and answers what it sent."""
    with running(folder) as daemon, daemon.held() as client:
        client.sendall(b"\xc3")
        wait_until(lambda: daemon.board.header["bytes_in"] == 5, "it is read")
        daemon.signal(signal.SIGTERM)
        assert _end(client) == b"\xc3"
        assert daemon.wait() == 0
    assert "outcome=quiet" in daemon.log


@pytest.mark.parametrize("option", ["--idle-timeout", "--max-lifetime"])
def test_child_that_is_stopped(folder: Path, option: str) -> None:
    """A stopped child cannot end its connection, so the parent kills it, counts that and logs it."""
    with running(folder, option, "3") as daemon, daemon.connect() as client:
        client.sendall(b"x")
        assert client.recv(1) == b"X"
        [pid] = [child["pid"] for child in daemon.board.children if not child["waiting"]]
        os.kill(pid, signal.SIGSTOP)
        assert _end(client) == b""
        wait_until(lambda: daemon.board.header["overdue"] == 1, "it is counted")
        assert daemon.board.header["crashed"] == 0
        wait_until(lambda: "was killed: its connection did not end at a limit" in daemon.log, "it is logged")
        assert daemon.ask(b"others") == b"OTHERS"
        assert daemon.stop() == 0


def test_stopped_child_of_one_who_is_no_longer_allowed(folder: Path) -> None:
    """A stopped child does not keep open a connection that a reload forbids."""
    config = folder / "upperd.toml"
    config.write_text("")
    with running(folder, "--config", str(config)) as daemon, daemon.held() as client:
        [pid] = [child["pid"] for child in daemon.board.children if not child["waiting"]]
        os.kill(pid, signal.SIGSTOP)
        config.write_text(f"deny-user = [{os.geteuid()}]\n")
        daemon.signal(signal.SIGHUP)
        daemon.manager.wait_for("RELOADING=1")
        daemon.manager.wait_for("READY=1")
        assert _end(client) == b""
        wait_until(lambda: daemon.board.header["overdue"] == 1, "it is counted")
