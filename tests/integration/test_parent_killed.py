"""SIGKILL to the parent, without a service manager to clean up: no client is cut, and a new daemon can start."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest
from programs import program
from running import DEADLINE, Daemon, free_port, lives, running, wait_until

AT_ONCE_SECONDS = 5.0
"""Generous: an idle child reads an end of file, and leaves."""


def _kill(daemon: Daemon) -> None:
    """SIGKILL to the parent alone."""
    daemon.process.kill()
    daemon.wait()


def _talk(client: socket.socket, data: bytes, answer: bytes) -> None:
    client.sendall(data)
    assert client.recv(64) == answer


def _all_end(children: set[int]) -> None:
    wait_until(lambda: not any(map(lives, children)), "they leave", AT_ONCE_SECONDS)


@pytest.mark.parametrize("per_child", ["1", "1000"])
def test_daemon(folder: Path, per_child: str) -> None:
    """Conversations go on to their ends, idle children leave at once, and a new daemon binds at once."""
    options = ("--connections-per-child", per_child, "--spare-children", "3")
    with contextlib.ExitStack() as until:
        with running(folder, *options) as daemon:
            clients = [until.enter_context(daemon.held()) for _ in range(4)]
            assert daemon.ask(b"x") == b"X"
            wait_until(lambda: daemon.board.spare, "a child is idle")
            busy = {child["pid"] for child in daemon.board.children if not child["waiting"]}
            idle = set(daemon.children()) - busy
            assert (len(busy), bool(idle)) == (4, True)
            _kill(daemon)
            _all_end(idle)
        for client in clients:
            _talk(client, b"still", b"STILL")
        with running(folder, *options) as second:
            assert second.ask(b"new") == b"NEW"
            for client in clients:
                _talk(client, b"after", b"AFTER")
                client.shutdown(socket.SHUT_WR)
                assert client.recv(64) == b""
            _all_end(busy)
            assert second.ask(b"new") == b"NEW"


def test_daemon_on_tcp(folder: Path) -> None:
    """The same with TCP: the port is free at once, even if conversations of the last daemon are under way."""
    port = free_port()
    with contextlib.ExitStack() as until:
        with running(folder, "--tcp", f"127.0.0.1:{port}") as daemon:
            client = until.enter_context(socket.create_connection(("127.0.0.1", port), DEADLINE))
            _talk(client, b"before", b"BEFORE")
            _kill(daemon)
        with running(folder, "--tcp", f"127.0.0.1:{port}"):
            _talk(client, b"after", b"AFTER")


def test_client_that_reads_nothing(folder: Path) -> None:
    """A child that is about to send is not cut either: all that the kernel had taken is answered, in order."""
    data = bytes(range(97, 123)) * 40_000
    with running(folder) as daemon, daemon.held() as client:
        client.setblocking(False)
        sent = 0
        with contextlib.suppress(BlockingIOError):
            while sent < len(data):
                sent += client.send(data[sent : sent + 65536])
        _kill(daemon)
        client.settimeout(DEADLINE)
        answer = b""
        while len(answer) < sent:
            answer += client.recv(65536)
        assert answer == data[:sent].upper()


LIBRARY = """
class Talker(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(64):
            self.request.sendall(b"%d %s" % (os.getpid(), data))
class Quick(Server):
    spare_children = 3
servers = [Quick(PATH + suffix, Talker) for suffix in sys.argv[2].split(",")]
ready()
threads = [threading.Thread(target=server.serve_forever) for server in servers]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


@pytest.mark.parametrize("suffixes", [[""], ["", ".two"]], ids=["one", "two"])
def test_library(folder: Path, suffixes: list[str]) -> None:
    """The same for a program, with one server and with two: no child delays another's end of file."""
    paths = [f"{folder}/upperd.sock{suffix}" for suffix in suffixes]
    with contextlib.ExitStack() as until:

        def connect(path: str) -> tuple[socket.socket, int]:
            client = until.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(DEADLINE)
            client.connect(path)
            client.sendall(b"a")
            return client, int(client.recv(64).split()[0])

        with program(folder, LIBRARY, ",".join(suffixes)) as daemon:
            for path in paths:
                connect(path)[0].close()
            talks = [connect(path) for _ in range(3) for path in paths]
            busy = {pid for _, pid in talks}
            children = _children(daemon)
            assert children >= busy
            children = busy | wait_until(lambda: _children(daemon) - busy, "a spare child")
            _kill(daemon)
            _all_end(children - busy)
        for client, pid in talks:
            _talk(client, b"still", b"%d still" % pid)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(64) == b""
        _all_end(busy)
        for path in paths:  # a program removes its own stale path: a library has no lock
            Path(path).unlink()
        with program(folder, LIBRARY, ",".join(suffixes)):
            for path in paths:
                assert connect(path)[1] not in children


def _children(daemon: Daemon) -> set[int]:
    """The children of every thread of a program."""
    tasks = Path(f"/proc/{daemon.pid}/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}
