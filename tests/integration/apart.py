"""Tests of the server class as a library: each body runs in a process of its own, so that pytest itself never forks."""

from __future__ import annotations

import contextlib
import functools
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from running import DEADLINE, ask_on

HERE = Path(__file__).parent

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
            [*command, *words.values()], cwd=HERE, capture_output=True, text=True, timeout=2 * DEADLINE
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

    return run


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
