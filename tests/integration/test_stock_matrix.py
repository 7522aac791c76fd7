"""One handler under every stream server of socketserver: change one line, keep the handler."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, socket, socketserver, sys, threading
from upperd.upper.handler import UpperHandler
from upperd.server import PreforkingMixIn

class ForkingUnixServer(socketserver.ForkingMixIn, socketserver.UnixStreamServer): pass
class PreforkingUnixServer(PreforkingMixIn, socketserver.UnixStreamServer): pass
class PreforkingTCPServer(PreforkingMixIn, socketserver.TCPServer): pass

server_class = globals().get(sys.argv[1]) or getattr(socketserver, sys.argv[1])
unix = "Unix" in sys.argv[1]
with server_class(sys.argv[2] if unix else ("127.0.0.1", 0), UpperHandler) as server:
    serving = threading.Thread(target=server.serve_forever, args=(0.05,))
    serving.start()
    for _ in range(3):
        with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as client:
            client.settimeout(30)
            client.connect(server.server_address)
            client.sendall("straße".encode()[:5])
            client.sendall("straße".encode()[5:] + b"\\xff")
            client.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: client.recv(100), b""))
            assert answer == b"STRASSE\\xff", answer
    server.shutdown()
    serving.join(30)
    assert not serving.is_alive()
"""


@pytest.mark.parametrize(
    "name",
    [
        "TCPServer",
        "ForkingTCPServer",
        "ThreadingTCPServer",
        "UnixStreamServer",
        "ThreadingUnixStreamServer",
        "ForkingUnixServer",
        "PreforkingUnixServer",
        "PreforkingTCPServer",
    ],
)
def test_same_answer_under_every_server(folder: Path, name: str) -> None:
    """The handler answers the same under every stock class, and under ours, in a thread of any program."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SCRIPT, name, str(folder / "s")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert (done.returncode, done.stderr) == (0, "")
