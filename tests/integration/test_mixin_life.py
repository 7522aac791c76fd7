"""A server with PreforkingMixIn from its first child to its last, as other people's programs use it.

Each body runs in a process of its own, so that pytest itself, which has threads, never forks.
"""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import select
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import DEADLINE, ask_on, wait_until

from upperd.server import PreforkingMixIn

_RUN = "import importlib, pathlib, sys; getattr(importlib.import_module(sys.argv[1]), sys.argv[2]).__wrapped__({})"
_CALL = "pathlib.Path(sys.argv[3]), *sys.argv[4:]"

# A thread beside a fork is what these tests are about: a server in a thread, a client in another (Python 3.12 warns).
_WARNINGS = ["-W", "error", "-W", "ignore:This process:DeprecationWarning"]


def apart(test: Callable[..., None]) -> Callable[..., None]:
    """Run the body of `test`, a function of a folder and of words, in a process of its own."""

    @functools.wraps(test)
    def run(folder: Path, **words: str) -> None:
        code = _RUN.format(_CALL)
        command = [sys.executable, *_WARNINGS, "-c", code, test.__module__, test.__name__, str(folder)]
        done = subprocess.run(
            [*command, *words.values()], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=2 * DEADLINE
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

    return run


class Lines(socketserver.StreamRequestHandler):
    """Answers every line with the pid that serves it and the line in upper case."""

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(f"{os.getpid()} ".encode() + line.upper())


class Echo(socketserver.BaseRequestHandler):
    """Upper-cases until the client's end of file."""

    def handle(self) -> None:
        while data := self.request.recv(4096):
            self.request.sendall(data.upper())


class UnixServer(PreforkingMixIn, socketserver.UnixStreamServer):
    spare_children = 2
    drain_timeout = 0.5  # a child holds a copy of the client's end, too: no end of file comes


class TCPServer(PreforkingMixIn, socketserver.TCPServer):
    spare_children = 2
    drain_timeout = 0.5  # a child holds a copy of the client's end, too: no end of file comes


def _make(family: str, folder: Path, handler: type[socketserver.BaseRequestHandler] = Echo) -> UnixServer | TCPServer:
    return UnixServer(str(folder / "s"), handler) if family == "unix" else TCPServer(("127.0.0.1", 0), handler)


def _is_gone(pid: int) -> bool:
    """Whether no process and no zombie has this pid."""
    return not Path(f"/proc/{pid}").exists()


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def connect_to(server: socketserver.BaseServer) -> socket.socket:
    """A client's connection to the address of a server."""
    assert isinstance(server, socketserver.TCPServer)
    connection = socket.socket(server.address_family)
    connection.settimeout(DEADLINE)
    connection.connect(server.server_address)
    return connection


def ask(server: socketserver.BaseServer, data: bytes) -> bytes:
    """One connection: send everything, half-close, read to the end."""
    with connect_to(server) as connection:
        return ask_on(connection, data)


@contextlib.contextmanager
def serving(server: socketserver.BaseServer, poll_interval: float = 0.5) -> Iterator[threading.Thread]:
    """Serve in a thread; shut down and close afterwards."""
    thread = threading.Thread(target=server.serve_forever, args=(poll_interval,))
    thread.start()
    try:
        yield thread
    finally:
        server.shutdown()
        thread.join(DEADLINE)
        server.server_close()
        assert not thread.is_alive()


@pytest.mark.parametrize("family", ["unix", "tcp"])
@apart
def test_any_handler_is_served(folder: Path, family: str) -> None:
    """BaseRequestHandler and StreamRequestHandler work on Unix and TCP, each connection in a process of its own."""
    with serving(server := _make(family, folder, Lines)):
        answers = [ask(server, b"one\ntwo\n").split() for _ in range(5)]
    assert [answer[1::2] for answer in answers] == [[b"ONE", b"TWO"]] * 5
    pids = [answer[0] for answer in answers]
    assert len(set(pids)) == 5
    assert str(os.getpid()).encode() not in pids


@pytest.mark.parametrize("family", ["unix", "tcp"])
@apart
def test_child_is_reused_when_asked(folder: Path, family: str) -> None:
    """With connections_per_child above 1 one process serves several connections, and no more than it may."""
    server = _make(family, folder, Lines)
    server.connections_per_child, server.spare_children = 3, 1
    with serving(server):
        pids = [ask(server, b"x\n").split()[0] for _ in range(12)]
    assert max(pids.count(pid) for pid in pids) == 3
    assert 4 <= len(set(pids)) < 12


@apart
def test_no_thread_is_needed(folder: Path) -> None:
    """In a program of one thread, a signal handler may call shutdown: serve_forever returns, nothing deadlocks."""
    server = _make("unix", folder)
    program, client = os.getpid(), os.fork()
    if client == 0:
        answered = ask(server, b"question") == b"QUESTION"
        if os.getppid() == program:  # not whoever adopted us
            os.kill(program, signal.SIGTERM)
        os._exit(0 if answered else 1)
    signal.signal(signal.SIGTERM, lambda *_: server.shutdown())
    server.serve_forever()
    server.server_close()
    assert os.listdir("/proc/self/task") == [str(os.getpid())]
    assert os.waitpid(client, 0)[1] == 0


@apart
def test_shutdown_from_another_thread(folder: Path) -> None:
    """Another thread may call shutdown while the main thread serves; it returns when serve_forever has ended."""
    server = _make("unix", folder)
    answers: list[bytes] = []

    def ask_and_end() -> None:
        answers.append(ask(server, b"x"))
        server.shutdown()

    other = threading.Thread(target=ask_and_end)
    other.start()
    server.serve_forever()
    other.join(DEADLINE)
    server.server_close()
    assert answers == [b"X"]


@apart
def test_shutdown_needs_no_poll_interval(folder: Path) -> None:
    """shutdown wakes the loop by itself: it does not wait for poll_interval to pass."""
    server = _make("unix", folder)
    with serving(server, poll_interval=10 * DEADLINE):
        assert ask(server, b"x") == b"X"
        server.shutdown()


@apart
def test_serving_again(folder: Path) -> None:
    """After shutdown nothing is accepted: clients queue, and are served when serve_forever is called again."""
    server = _make("unix", folder)
    for _ in range(3):
        thread = threading.Thread(target=server.serve_forever)
        with connect_to(server) as early:
            early.sendall(b"early")
            thread.start()
            assert early.recv(16) == b"EARLY"
            assert ask(server, b"x") == b"X"
        server.shutdown()
        thread.join(DEADLINE)
        with connect_to(server) as queued:
            queued.sendall(b"later")
            assert select.select([queued], [], [], 0.2)[0] == [], "nobody serves"
    server.server_close()


@apart
def test_connection_outlives_shutdown(folder: Path) -> None:
    """shutdown stops accepting, it does not end a connection: server_close waits for its end."""
    server = _make("unix", folder)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with connect_to(server) as held:
        held.sendall(b"before")
        assert held.recv(16) == b"BEFORE"
        server.shutdown()
        thread.join(DEADLINE)
        held.sendall(b"after")
        assert held.recv(16) == b"AFTER"
    server.server_close()
    assert server.active_children == set()


@apart
def test_handle_request_at_the_limit(folder: Path) -> None:
    """At max_children handle_request waits for a child to end, and then serves."""
    server = _make("unix", folder)
    server.max_children, server.timeout = 1, DEADLINE
    with connect_to(server) as first, connect_to(server) as second:
        server.handle_request()
        first.sendall(b"one")
        assert first.recv(8) == b"ONE"
        first.shutdown(socket.SHUT_WR)
        server.handle_request()
        second.sendall(b"two")
        assert second.recv(8) == b"TWO"
    server.server_close()


@apart
def test_block_on_close_false_does_not_wait(folder: Path) -> None:
    """With block_on_close false server_close returns at once, and a connection under way is served to its end."""
    server = _make("unix", folder)
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with connect_to(server) as held:
        held.sendall(b"before")
        assert held.recv(16) == b"BEFORE"
        server.shutdown()
        thread.join(DEADLINE)
        server.server_close()
        held.sendall(b"after")
        assert held.recv(16) == b"AFTER"


@pytest.mark.parametrize("state", ["idle", "at the limit"])
@apart
def test_service_actions_are_called(folder: Path, state: str) -> None:
    """service_actions is called every poll_interval while nothing happens, and with max_children busy too."""
    calls = 0

    class Counting(UnixServer):
        max_children = 1

        def service_actions(self) -> None:
            nonlocal calls
            calls += 1

    with serving(server := Counting(str(folder / "s"), Echo), poll_interval=0.02), connect_to(server) as client:
        if state == "at the limit":
            client.sendall(b"x")
            assert client.recv(1) == b"X"
        before = calls
        wait_until(lambda: calls > before + 10, "service_actions is called")


@apart
def test_children_are_reaped_while_nobody_comes(folder: Path) -> None:
    """A child that ended is reaped at once, though no request and no poll_interval follows."""
    server = _make("unix", folder, Lines)
    with serving(server, poll_interval=10 * DEADLINE):
        pid = int(ask(server, b"x\n").split()[0])
        wait_until(lambda: _is_gone(pid), "the child is reaped")


@apart
def test_spare_children_are_made_good(folder: Path) -> None:
    """When the rush is over, spare_children wait again: not just the last of them."""
    server = _make("unix", folder, Lines)
    server.spare_children = 4
    with serving(server, poll_interval=0.05):
        wait_until(lambda: len(server.active_children) == 4, "four wait")
        pid = int(ask(server, b"x\n").split()[0])
        wait_until(lambda: pid not in server.active_children, "one has served, and is gone")
        wait_until(lambda: len(server.active_children) == 4, "four wait again")


@apart
def test_full_descriptor_table_does_not_spin(folder: Path) -> None:
    """With the table of descriptors full the loop uses next to no processor time, and serves when there is room."""
    server = _make("unix", folder)
    with serving(server, poll_interval=0.05):
        assert ask(server, b"x") == b"X"
        client = connect_to(server)
        held = connect_to(server)
        held.sendall(b"x")
        assert held.recv(1) == b"X"
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        ballast = _fill_table()
        before, began = _cpu_seconds(), time.monotonic()
        wait_until(lambda: time.monotonic() > began + 1.0, "a second passes")
        spent = _cpu_seconds() - before
        for descriptor in ballast:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with client, held:
            assert ask_on(client, b"y") == b"Y"
            assert ask(server, b"z") == b"Z"
    assert spent < 0.5, f"{spent} s of processor time in one second"


def _fill_table() -> list[int]:
    """Lower the limit to what is in use, and fill the gaps."""
    top = max(map(int, os.listdir("/proc/self/fd"))) + 8
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (top, hard))
    ballast = []
    try:
        while True:
            ballast.append(os.dup(0))
    except OSError:
        return ballast


@apart
def test_children_end_with_the_program(folder: Path) -> None:
    """When the program is killed its children end, though a thread of it had forked them and ended before."""
    reading, writing = os.pipe()
    program = os.fork()
    if program == 0:
        server = _make("unix", folder)
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with connect_to(server) as held:
            held.sendall(b"x")
            held.recv(1)
            server.shutdown()
            thread.join()
            os.write(writing, " ".join(map(str, server.active_children)).encode())
            while True:
                signal.pause()
    children = [int(word) for word in os.read(reading, 4096).split()]
    assert children
    assert not any(_is_gone(pid) for pid in children), "the end of the thread ended them"
    os.kill(program, signal.SIGKILL)
    os.waitpid(program, 0)
    wait_until(lambda: all(_is_gone(pid) or _is_zombie(pid) for pid in children), "the children end")


def _is_zombie(pid: int) -> bool:
    """Whether it has ended and waits for whoever adopted it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
