"""A server with PreforkingMixIn from serve_forever to server_close, as library programs use it.

Each body runs in a process of its own, so that pytest itself, which has threads, never forks.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from pathlib import Path

import pytest
from mixin_servers import Echo, UnixServer, apart, ask, connect_to, make_server, serving
from running import DEADLINE, wait_until


@apart
def test_no_thread_is_needed(folder: Path) -> None:
    """In a single-threaded program a signal handler may call shutdown: serve_forever returns without a deadlock."""
    server = make_server("unix", folder)
    program, client = os.getpid(), os.fork()
    if client == 0:
        answered = ask(server, b"question") == b"QUESTION"
        if os.getppid() == program:  # not the process that adopted this one
            os.kill(program, signal.SIGTERM)
        os._exit(0 if answered else 1)
    signal.signal(signal.SIGTERM, lambda *_: server.shutdown())
    server.serve_forever()
    server.server_close()
    assert os.listdir("/proc/self/task") == [str(os.getpid())]
    assert os.waitpid(client, 0)[1] == 0


@apart
def test_shutdown_from_another_thread(folder: Path) -> None:
    """Another thread may call shutdown while the main thread serves; shutdown returns when serve_forever has ended."""
    server = make_server("unix", folder)
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
    """shutdown wakes the loop by itself, and does not wait for poll_interval to pass."""
    server = make_server("unix", folder)
    with serving(server, poll_interval=10 * DEADLINE):
        assert ask(server, b"x") == b"X"
        server.shutdown()


@apart
def test_serving_again(folder: Path) -> None:
    """After shutdown nothing is accepted: clients queue, and are served when serve_forever is called again."""
    server = make_server("unix", folder)
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
    """shutdown stops accepting, and ends no connection: server_close waits for the end of each."""
    server = make_server("unix", folder)
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
    server = make_server("unix", folder)
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
    server = make_server("unix", folder)
    server.block_on_close = False
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    # A child that is forked later has a copy of our end of the connection, and never reads an end of file.
    wait_until(lambda: len(server.active_children) == 2, "the spare children wait")
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
    """service_actions is called every poll_interval while nothing happens, also with max_children busy."""
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
