"""Datagram handlers under the classes of socketserver and PreforkingMixIn: change one line, keep the handler."""

import subprocess
import sys
from pathlib import Path

import pytest

LIBRARY = """
import contextlib, os, signal, socket, socketserver, sys, threading, time
from upperd.upper.handler import UpperDatagramHandler
from upperd.server import PreforkingMixIn

class PreforkingUDPServer(PreforkingMixIn, socketserver.UDPServer): pass
class PreforkingUnixDatagramServer(PreforkingMixIn, socketserver.UnixDatagramServer): pass
class ThreadingUnix(socketserver.ThreadingMixIn, socketserver.UnixDatagramServer): pass

class Echo(socketserver.DatagramRequestHandler):
    def handle(self):
        text = self.rfile.read()
        if text == b"slow":
            # The child is told to end in the middle of it.
            os.kill(os.getpid(), signal.SIGTERM)
        if text == b"raise":
            1 / 0
        self.wfile.write(text.upper())

name, path = sys.argv[1:]
server_class = globals().get(name) or getattr(socketserver, name)
unix = "Unix" in name
server_class.spare_children = 2

def client():
    made = socket.socket(socket.AF_UNIX if unix else socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(30)
    made.bind("" if unix else ("127.0.0.1", 0))
    made.connect(server.server_address)
    return made

for handler in (UpperDatagramHandler, Echo):
    with server_class(path if unix else ("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        if unix and handler is UpperDatagramHandler:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nobody:
                nobody.sendto(b"from nowhere", path)
        with client() as one:
            for text in (b"text", b"", b"slow", b"more") * 3:
                if text == b"slow" and not name.startswith("Preforking"):
                    continue
                one.send(text)
                answer = one.recv(100)
                assert answer == text.upper(), (text, answer)
        server.shutdown()
        serving.join(30)
        assert not serving.is_alive()
        if name.startswith("Preforking"):
            with client() as one:
                one.send(b"one")
                server.handle_request()
                assert one.recv(100) == b"ONE"
    if unix:
        os.unlink(path)
"""
HANGING = """
import signal, socket, socketserver, sys, threading
from upperd.server import PreforkingMixIn

class Hang(socketserver.DatagramRequestHandler):
    def handle(self):
        self.socket.sendto(b"x", self.client_address)
        while True:
            signal.pause()

class Server(PreforkingMixIn, socketserver.UDPServer):
    drain_timeout = 0.2

with Server(("127.0.0.1", 0), Hang) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    client.settimeout(30)
    client.sendto(b"", server.server_address)
    assert client.recv(1) == b"x"
    server.shutdown()
    serving.join(30)
assert server.active_children == set()
"""


def _run(script: str, *arguments: str) -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "name",
    [
        "UDPServer", "ThreadingUDPServer", "ForkingUDPServer", "UnixDatagramServer", "ThreadingUnix",
        "PreforkingUDPServer", "PreforkingUnixDatagramServer",
    ],
)  # fmt: skip
def test_every_datagram_server(folder: Path, name: str) -> None:
    """Every datagram handler answers under every stock class and under PreforkingMixIn, also during a shutdown."""
    _run(LIBRARY, name, str(folder / "s"))


def test_handler_that_hangs() -> None:
    """server_close ends a child whose datagram handler hangs, within drain_timeout and without an error."""
    _run(HANGING)
