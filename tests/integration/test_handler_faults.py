"""Handlers that are broken on purpose, and their effect on the daemon and on the connections of others."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from running import DEADLINE, Daemon, read_to_end, run_to_end, running, wait_until
from users import ALICE, BOB, connect_as, needs_root

PREAMBLE = """
import os, signal, socket, sys, threading, time
from socketserver import BaseRequestHandler, DatagramRequestHandler, StreamRequestHandler
HERE = os.path.dirname(os.path.abspath(__file__))
class H(StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())
"""


def write(folder: Path, text: str) -> tuple[str, ...]:
    """Write a module with such a handler; return the options that make the daemon serve it."""
    (folder / "h.py").write_text(PREAMBLE + text)
    return "--handler", f"{folder}/h.py:H"


def is_over(daemon: Daemon, request: bytes) -> bytes:
    """The answer to a request, up to the end of the connection, which the handler makes."""
    with daemon.connect() as connection:
        if request:
            connection.sendall(request)
        return read_to_end(connection)


# Faults that are found before anything is served

MISTAKES = {
    "KeyboardInterrupt at ": "raise KeyboardInterrupt",
    "GeneratorExit at ": "raise GeneratorExit",
    "SyntaxError": "raise SyntaxError()",
    "its text cannot be shown": "class E(Exception):\n def __str__(self): raise SystemExit\nraise E",
    r"Bad\x1b[31m\nx: t": "raise type('Bad\\x1b[31m\\nx', (Exception,), {})('t')",
    "KeyError: 'H'": "del H\ndef __getattr__(name): raise KeyError(name)",
    "unhashable type": "class M(type):\n def __eq__(self, other): return True\nclass H(H, metaclass=M): pass",
    "counters is 'lines': it must be a tuple": "H.counters = 'lines'",
    "counters has 'exception'": "H.counters = ('exception',)",
    "counters has 'text'": "H.counters = ('text',)",
    f"counters has '{'a' * 65}'": f"H.counters = ('{'a' * 65}',)",
    "start_child is not a class method": "H.start_child = lambda self: None",
    "its module starts threads": "threading.Thread(target=threading.Event().wait).start()",
    "run() is called when the module is imported": (
        "from upperd.service import run\nrun(H, name='other', arguments=[])"
    ),
    "is a DatagramRequestHandler, and ": "class H(DatagramRequestHandler): pass",
}


@pytest.mark.parametrize("reason", MISTAKES)
def test_mistake_is_one_message(folder: Path, reason: str) -> None:
    """A start and a check report the same cause, safe for a terminal, and end with status 78 at once."""
    words = write(folder, MISTAKES[reason])
    for more in ((), ("--check-config",)):
        status, said = run_to_end(folder, *words, "--socket", str(folder / "upperd.sock"), *more)
        assert (status, reason in said, "Traceback" in said) == (78, True, False), said
        assert said.replace("\n", "").isprintable()
    assert not (folder / "upperd.sock").exists()


def test_file_that_is_named_like_a_module(folder: Path) -> None:
    """The message for FILE.py:CLASS without a folder says how to name a file."""
    write(folder, "")
    status, said = run_to_end(folder, "--handler", "h.py:H")
    assert (status, "./h.py:H" in said) == (78, True)


# Faults that others must not notice


@pytest.mark.parametrize("name", ["event", "level", "self"])
def test_counters_of_odd_names(folder: Path, name: str) -> None:
    """A counter may have any name that is not taken: the record of a child is written, and serving goes on."""
    text = f"""
class H(StreamRequestHandler):
    counters = ("{name}",) if "{name}" != "event" else ("events",)
    def handle(self):
        self.request.count(self.counters[0])
        1 / 0
"""
    with running(folder, *write(folder, text)) as daemon:
        assert is_over(daemon, b"") == b""
        wait_until(lambda: "ZeroDivisionError" in daemon.log, "the record")
        assert is_over(daemon, b"") == b""
        assert daemon.stop() == 0


def test_module_that_spoils_its_process(folder: Path) -> None:
    """A reload works even if the module has changed sys.argv and the working folder."""
    words = write(folder, "sys.argv = ['x']\nos.chdir('/')")
    with running(folder, *words) as daemon:
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: "nothing has changed" in daemon.log, "the reload")
        assert daemon.ask(b"a\n") == b"A\n"


def test_module_that_leaves_a_process_behind(folder: Path) -> None:
    """A module that ends the reload, and leaves a process behind, delays nothing."""
    text = """
if os.path.exists(f"{HERE}/bad"):
    if os.fork() == 0:
        signal.alarm(60)
        signal.pause()
    os._exit(3)
"""
    with running(folder, *write(folder, text)) as daemon:
        (folder / "bad").touch()
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: "the old settings stay" in daemon.log, "the reload has failed")
        assert daemon.ask(b"a\n") == b"A\n"
        assert daemon.stop() == 0


def test_child_that_ends_in_its_beginning(folder: Path) -> None:
    """If start_child ends its process, even with status 0, forking pauses, and no connection is lost."""
    text = f"""
class H(H):
    @classmethod
    def start_child(cls):
        if not os.path.exists("{folder}/go"):
            os._exit(0)
"""
    with running(folder, *write(folder, text)) as daemon, daemon.connect() as connection:
        connection.sendall(b"hello\n")
        wait_until(lambda: "it ended before its first connection; forking again in 0.4 s" in daemon.log, "a pause")
        assert daemon.board.header["forked"] < 100
        (folder / "go").touch()
        connection.shutdown(socket.SHUT_WR)
        assert read_to_end(connection) == b"HELLO\n"
        assert daemon.board.header["lost"] == 0


def test_beginning_that_fails_for_long(folder: Path) -> None:
    """However often children fail to begin, a connection waits until one does."""
    text = f"""
class H(H):
    @classmethod
    def start_child(cls):
        open("{folder}/go")
"""
    with running(folder, *write(folder, text), "--max-children", "1") as daemon, daemon.connect() as connection:
        connection.sendall(b"hello\n")
        wait_until(lambda: daemon.board.header["crashed"] >= 5, "five children have failed")
        (folder / "go").touch()
        connection.shutdown(socket.SHUT_WR)
        assert read_to_end(connection) == b"HELLO\n"
        assert daemon.board.header["lost"] == 0


def test_end_that_hangs(folder: Path) -> None:
    """Children whose end_child hangs are killed, and their places go to other users."""
    needs_root(folder)
    text = """
class H(H):
    @classmethod
    def end_child(cls):
        signal.alarm(60)
        signal.pause()
"""
    limits = ("--max-children", "2", "--max-children-per-user", "2", "--spare-children", "1")
    words = (*write(folder, text), *limits, "--connections-per-child", "1", "--socket-mode", "0666")
    with running(folder, *words) as daemon:
        for connection in connect_as(daemon, ALICE, count=2) + connect_as(daemon, BOB):
            with connection:
                connection.sendall(b"a\n")
                assert connection.recv(8) == b"A\n"


@pytest.mark.parametrize("where", ["start_child", "handle"])
def test_copy_of_a_child(folder: Path, where: str) -> None:
    """If a handler forks and the copy returns, the copy serves nothing, says nothing, and leaves no record."""
    text = {
        "start_child": """
class H(H):
    @classmethod
    def start_child(cls):
        os.fork()
""",
        "handle": """
class H(H):
    def handle(self):
        if os.fork() == 0:
            sys.exit("not of the record")
        super().handle()
""",
    }[where]
    with running(folder, *write(folder, text)) as daemon:
        for _ in range(5):
            assert daemon.ask(b"a\n") == b"A\n"
        assert daemon.stop() == 0
        assert "not of the record" not in daemon.log
        assert "exception=" not in daemon.log


# The fate of a connection


def test_nothing_is_sent_twice(folder: Path) -> None:
    """With a failing handler `upperctl send` sends once; only to upperd's own handler may it send again."""
    text = """
class H(H):
    def handle(self):
        self.rfile.readline()
        os._exit(3)
"""
    with running(folder, *write(folder, text)) as daemon:
        command = [sys.executable, "-m", "upperd.ctl.main", "--socket", str(daemon.path), "send", "once"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
        assert (done.returncode, "its handler failed" in done.stderr) == (76, True)
        wait_until(lambda: daemon.board.header["crashed"], "the end is counted")
        assert daemon.board.header["connections"] == 1


def test_error_of_another_connection(folder: Path) -> None:
    """A ConnectionError that is not the client's is recorded as the handler's exception."""
    text = """
class H(BaseRequestHandler):
    def handle(self):
        ours, theirs = socket.socketpair()
        theirs.close()
        ours.send(b"x")
"""
    with running(folder, *write(folder, text)) as daemon:
        assert is_over(daemon, b"") == b""
        wait_until(lambda: "exception=BrokenPipeError: " in daemon.log, "the record")
        assert "outcome=failed" in daemon.log


@pytest.mark.parametrize("left", ["self.file = self.request.makefile('rwb')", "self.number = self.request.detach()"])
def test_connection_that_is_left_open(folder: Path, left: str) -> None:
    """The client sees the end even if the handler has left a file, or the bare descriptor, open."""
    text = f"""
class H(BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"x")
        self.itself = self
        {left}
"""
    with running(folder, *write(folder, text)) as daemon:
        for _ in range(3):
            begin = time.monotonic()
            assert is_over(daemon, b"") == b"x"
            assert time.monotonic() - begin < DEADLINE / 2
