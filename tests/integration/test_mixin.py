"""PreforkingMixIn as a library: what the standard library documents of socketserver holds for it."""

import os
import resource
import select
import signal
import socket
import socketserver
import threading
import time
from pathlib import Path

import pytest
from apart import apart, ask, connect_to, serving
from running import DEADLINE, ask_on, read_to_end, wait_until

from upperd.server import PreforkingMixIn


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


class Deaf(socketserver.BaseRequestHandler):
    """Says hello, and then neither reads nor ends."""

    def handle(self) -> None:
        self.request.sendall(b"hello")
        while True:
            signal.pause()


class Failing(socketserver.BaseRequestHandler):
    """Fails where it is told to."""

    def handle(self) -> None:
        if self.request.recv(16) == b"fail":
            raise ValueError("as it was told")
        self.request.sendall(b"fine")


class UnixServer(PreforkingMixIn, socketserver.UnixStreamServer):
    spare_children = 2
    drain_timeout = 5.0


class TCPServer(PreforkingMixIn, socketserver.TCPServer):
    spare_children = 2
    drain_timeout = 5.0


def _make(family: str, folder: Path, handler: type[socketserver.BaseRequestHandler] = Echo) -> UnixServer | TCPServer:
    return UnixServer(str(folder / "s"), handler) if family == "unix" else TCPServer(("127.0.0.1", 0), handler)


def _is_gone(pid: int) -> bool:
    """Whether no process and no zombie has this pid."""
    return not Path(f"/proc/{pid}").exists()


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


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
    client = os.fork()
    if client == 0:
        answered = ask(server, b"question") == b"QUESTION"
        os.kill(os.getppid(), signal.SIGTERM)
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
def test_handle_request(folder: Path) -> None:
    """handle_request serves one connection in a child, and calls handle_timeout when none comes in time."""

    class Counting(UnixServer):
        timeout = 0.1
        timeouts = 0

        def handle_timeout(self) -> None:
            super().handle_timeout()
            self.timeouts += 1

    server = Counting(str(folder / "s"), Lines)
    server.handle_request()
    assert server.timeouts == 1
    server.timeout = DEADLINE
    for _ in range(3):
        with connect_to(server) as client:
            server.handle_request()
            assert ask_on(client, b"x\n").split()[0] != str(os.getpid()).encode()
    assert server.timeouts == 1
    server.server_close()


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
def test_server_close_is_bounded(folder: Path) -> None:
    """server_close waits drain_timeout for a handler that never ends, then kills it; no child is left, no zombie."""
    server = _make("unix", folder, Deaf)
    server.drain_timeout = 0.2
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with connect_to(server) as client:
        assert client.recv(8) == b"hello"
        children = server.active_children
        server.shutdown()
        thread.join(DEADLINE)
        server.server_close()
        assert read_to_end(client) == b""
    assert children
    assert all(_is_gone(pid) for pid in children)


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


@apart
def test_verify_request_refuses(folder: Path) -> None:
    """A connection that verify_request refuses is closed without an answer; the next one is served."""

    class Choosy(UnixServer):
        connections_per_child = 100

        def verify_request(self, request: socket.socket, client_address: object) -> bool:
            return request.recv(1) == b"+"

    with serving(server := Choosy(str(folder / "s"), Echo)):
        with connect_to(server) as refused:
            refused.sendall(b"-")
            assert refused.recv(16) == b""
        assert ask(server, b"+yes") == b"YES"


@apart
def test_handle_error_is_called(folder: Path) -> None:
    """An exception in a handler goes to handle_error in the child; the client sees an end, the next is served."""
    reading, writing = os.pipe()

    class Telling(UnixServer):
        def handle_error(self, request: object, client_address: object) -> None:
            os.write(writing, b"called")

    with serving(server := Telling(str(folder / "s"), Failing)):
        assert ask(server, b"fail") == b""
        assert os.read(reading, 16) == b"called"
        assert ask(server, b"work") == b"fine"


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
def test_foreign_children_are_not_reaped(folder: Path) -> None:
    """A child that the program started itself is left for the program to wait for."""
    foreign = os.fork()
    if foreign == 0:
        os._exit(42)
    server = _make("unix", folder)
    with serving(server):
        for _ in range(20):
            assert ask(server, b"x") == b"X"
    assert os.waitstatus_to_exitcode(os.waitpid(foreign, 0)[1]) == 42


@apart
def test_children_are_reaped_while_nobody_comes(folder: Path) -> None:
    """A child that ended is reaped at once, though no request and no poll_interval follows."""
    server = _make("unix", folder, Lines)
    with serving(server, poll_interval=10 * DEADLINE):
        pid = int(ask(server, b"x\n").split()[0])
        wait_until(lambda: _is_gone(pid), "the child is reaped")


@apart
def test_signal_to_a_child_stays_there(folder: Path) -> None:
    """SIGTERM to a child runs no handler of the program: neither there nor in the parent."""
    calls: list[int] = []
    server = _make("unix", folder)
    signal.signal(signal.SIGTERM, lambda number, frame: os.write(writing, b"!") and calls.append(number))
    reading, writing = os.pipe2(os.O_NONBLOCK)
    with serving(server):
        assert ask(server, b"x") == b"X"
        wait_until(lambda: len(server.active_children) == 2, "two wait")
        victims = server.active_children
        for pid in victims:
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not victims & server.active_children, "both end")
        assert ask(server, b"x") == b"X"
    assert calls == []
    with pytest.raises(BlockingIOError):
        os.read(reading, 1)


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
