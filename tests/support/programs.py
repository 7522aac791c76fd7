"""Programs that use `PreforkingMixIn` as a library, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from running import DEADLINE, Daemon, running

IN_THREAD = """
@contextlib.contextmanager
def in_thread(server):
    # As programs serve that have something else to do.
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(30)
        assert not thread.is_alive()
"""
"""Serves until the end of a block, in a thread of its own."""

PRELUDE = """
import contextlib, os, select, signal, socket, socketserver, sys, threading, time
from upperd.server import PreforkingMixIn

PATH = sys.argv[1]
NOTES = PATH + ".notes"

def note(*words):
    # One write to a file that is opened to append: lines of several processes do not mix.
    file = os.open(NOTES, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, (" ".join(map(str, words)) + "\\n").encode())
    os.close(file)

def notes():
    return open(NOTES).read().splitlines() if os.path.exists(NOTES) else []

class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line if line != b"raise\\n" else 1 / 0)

class Pid(socketserver.BaseRequestHandler):
    # Answers each message with the number of its process, so that a client knows who serves it.
    def handle(self):
        while self.request.recv(64):
            self.request.sendall(b"%d" % os.getpid())

class Server(PreforkingMixIn, socketserver.UnixStreamServer):
    spare_children = 2

class TCP(PreforkingMixIn, socketserver.TCPServer):
    spare_children = 2

def connect(address=PATH):
    client = socket.socket(socket.AF_UNIX if isinstance(address, (str, bytes)) else socket.AF_INET)
    client.settimeout(30)
    client.connect(address)
    return client

def ask(data, address=PATH):
    with connect(address) as client:
        with contextlib.suppress(BrokenPipeError):  # the server may have answered and closed, or refused, already
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while block := client.recv(100):
                answer += block
        return answer

@contextlib.contextmanager
def serving(server):
    with server, in_thread(server):
        yield server

def ready():
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
"""
PRELUDE += IN_THREAD
"""The beginning of every program. `argv[1]` is the path of its socket."""


def run_program(folder: Path, code: str, *arguments: str) -> str:
    """Run the prelude and `code` to the end, which must succeed; return what it printed."""
    command = _command(folder / "upperd.sock", code, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


@contextmanager
def program(folder: Path, code: str, *arguments: str, **popen: Any) -> Iterator[Daemon]:
    """The prelude and `code`, running, after the call of `ready()`; killed afterwards if it still lives."""
    with running(folder, command=_command(folder / "upperd.sock", code, *arguments), **popen) as daemon:
        yield daemon


def _command(path: Path, code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-W", "ignore::DeprecationWarning", "-c", PRELUDE + code, str(path), *arguments]
