"""Handlers that a daemon under test serves: well-behaved ones, and others."""

from __future__ import annotations

from pathlib import Path

MODULE = '''
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from socketserver import BaseRequestHandler, DatagramRequestHandler, StreamRequestHandler

FOLDER = Path(__file__).parent
print("imported")


class Shout(StreamRequestHandler):
    """Say every line once more, louder."""

    counters = ("lines",)
    started = 0

    @classmethod
    def start_child(cls):
        cls.started += 1

    @classmethod
    def end_child(cls):
        if (FOLDER / "notes").exists():
            (FOLDER / "notes" / str(os.getpid())).touch()

    def handle(self):
        for line in self.rfile:
            self.request.count("lines")
            name = line.decode().strip()
            answer = getattr(self, f"do_{name}", lambda: name.upper())()
            self.wfile.write(f"{answer}\\n".encode())

    def do_peer(self):
        peer = self.request.peer
        return peer.uid, peer.gid, peer.pid, sorted(peer.groups)

    def do_started(self):
        return self.started

    def do_pid(self):
        return os.getpid()

    def do_undeclared(self):
        try:
            self.request.count("others")
        except ValueError as error:
            return error

    def do_raise(self):
        raise ValueError("bad\\x1b[31m \\nline")

    def do_exit(self):
        sys.exit("enough")

    def do__exit(self):
        os._exit(3)

    def do_fork(self):
        return os.fork() == 0

    def do_thread(self):
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        return "started"

    def do_close(self):
        os.closerange(3, self.request.fileno())
        os.closerange(self.request.fileno() + 1, 100)
        return "closed"

    def do_ignore(self):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        return "ignored"

    def do_hang(self):
        self.do_ignore()
        self.wfile.write(b"hangs\\n")
        threading.Event().wait()


class Backwards(DatagramRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.read()[::-1] + str(self.request.peer.uid).encode())


class Slow(StreamRequestHandler):
    """Of which a child is ready when the file is there."""

    @classmethod
    def start_child(cls):
        while FOLDER.exists() and not (FOLDER / "go").exists():
            threading.Event().wait(0.01)

    def handle(self):
        self.wfile.write(self.rfile.read())


class Broken(StreamRequestHandler):
    """Of which no child begins until the file is there."""

    @classmethod
    def start_child(cls):
        (FOLDER / "database").open()

    def handle(self):
        self.wfile.write(self.rfile.read())


class Greedy(StreamRequestHandler):
    counters = ("bytes_in",)


def function(request, address, server):
    pass
'''
"""The text of their module, shout.py."""


def write_module(folder: Path) -> Path:
    """Write the module into a folder of its own; return its path."""
    path = folder / "code" / "shout.py"
    path.parent.mkdir()
    path.parent.chmod(0o777)
    path.write_text(MODULE)
    return path


def options(module: Path, name: str = "Shout", *more: str) -> tuple[str, ...]:
    """The options that make the daemon serve one of them."""
    return "--handler", f"shout:{name}", "--python-path", str(module.parent), *more
