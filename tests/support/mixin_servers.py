"""Servers with PreforkingMixIn, their clients, and a process of its own for each test of them.

pytest itself has threads, so it never forks.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from running import DEADLINE, ask_on

from upperd.server import PreforkingMixIn

_RUN = "import importlib, pathlib, sys; getattr(importlib.import_module(sys.argv[1]), sys.argv[2]).__wrapped__({})"
_CALL = "pathlib.Path(sys.argv[3]), *sys.argv[4:]"

# These tests fork beside threads on purpose: a server in a thread, a client in another (Python 3.12 warns).
_WARNINGS = ["-W", "error", "-W", "ignore:This process:DeprecationWarning"]


def apart(test: Callable[..., None]) -> Callable[..., None]:
    """Run the body of `test`, a function of a folder and of words, in a process of its own."""

    @functools.wraps(test)
    def run(folder: Path, **words: str) -> None:
        code = _RUN.format(_CALL)
        command = [sys.executable, *_WARNINGS, "-c", code, test.__module__, test.__name__, str(folder)]
        done = subprocess.run(
            [*command, *words.values()],
            cwd=Path(inspect.getfile(test)).parent,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=2 * DEADLINE,
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


def make_server(
    family: str, folder: Path, handler: type[socketserver.BaseRequestHandler] = Echo
) -> UnixServer | TCPServer:
    return UnixServer(str(folder / "s"), handler) if family == "unix" else TCPServer(("127.0.0.1", 0), handler)


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
