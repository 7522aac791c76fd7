"""Requests that are not plain connections: objects around a socket, and datagrams."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import run_program

OBJECTS = """
class Wrapped(socket.socket):
    # As a TLS object, there is more to it than its descriptor.
    secret = b"?"
    def sendall(self, data):
        super().sendall(self.secret + data)

class Wrapping(Server):
    max_children = max_children_per_user = 3
    spare_children = 0
    calls = 0
    def get_request(self):
        plain, address = super().get_request()
        request = Wrapped(plain.family, plain.type, 0, plain.detach())
        self.calls += 1
        request.secret = b"%d" % self.calls
        return request, address

class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        note(os.getpid(), type(self.request).__name__)
        while data := self.request.recv(64):
            self.request.sendall(data)
"""
DATAGRAMS = """
class Handler(socketserver.DatagramRequestHandler):
    def handle(self):
        note(os.getpid())
        data = self.rfile.read()
        self.wfile.write(1 / 0 if data == b"raise" else data.upper())

class UDP(PreforkingMixIn, socketserver.UDPServer):
    spare_children = 2
    def handle_error(self, request, client_address):
        note(os.getpid(), "error")

class UnixDatagrams(PreforkingMixIn, socketserver.UnixDatagramServer):
    spare_children = 2

def sender(to):
    client = socket.socket(socket.AF_INET if isinstance(to, tuple) else socket.AF_UNIX, socket.SOCK_DGRAM)
    client.settimeout(30)
    if not isinstance(to, tuple):
        client.bind("")
    client.connect(to)
    return client

def exchange(client, data):
    client.send(data)
    return client.recv(65536)
"""
CASES = {
    "an object around a socket is served by a child that was forked for it": OBJECTS
    + """
with serving(Wrapping(PATH, Handler)) as server:
    assert [ask(b"x") for _ in range(5)] == [b"1x", b"2x", b"3x", b"4x", b"5x"]
    assert server.parent.board["forked"] >= 4  # the fifth may not be counted yet
served = [line.split() for line in notes()]
assert {name for _, name in served} == {"Wrapped"}
assert len({pid for pid, _ in served} - {str(os.getpid())}) == 5
""",
    "an object around a socket waits where every child is busy, and is served in the end": OBJECTS
    + """
with serving(Wrapping(PATH, Handler)) as server:
    clients = [connect() for _ in range(9)]
    for client in clients:
        client.sendall(b"x")
    answers = []
    for client in clients:
        answers.append(client.recv(64))
        client.shutdown(socket.SHUT_WR)
    assert answers == [b"%dx" % number for number in range(1, 10)]
""",
    "UDPServer: each datagram of a sender whom nobody knows has a child of its own": DATAGRAMS
    + """
with serving(UDP(("127.0.0.1", 0), Handler)) as server:
    client = sender(server.server_address)
    assert [exchange(client, b"%d a" % number) for number in range(5)] == [b"%d A" % number for number in range(5)]
pids = notes()
assert len(set(pids) - {str(os.getpid())}) == 5
""",
    "UDPServer: with reuse_unknown one child serves one datagram after the other": DATAGRAMS
    + """
class Shared(UDP):
    reuse_unknown = True
    spare_children = 1
with serving(Shared(("127.0.0.1", 0), Handler)) as server:
    client = sender(server.server_address)
    for number in range(20):
        assert exchange(client, b"a") == b"A"
assert len(set(notes())) < 20
""",
    "UDPServer: a handler that raises is reported in its child, and costs no other datagram": DATAGRAMS
    + """
with serving(UDP(("127.0.0.1", 0), Handler)) as server:
    client = sender(server.server_address)
    assert exchange(client, b"raise") == b""  # DatagramRequestHandler answers all the same
    assert exchange(client, b"a") == b"A"
errors = [line.split() for line in notes() if "error" in line]
assert len(errors) == 1
assert errors[0][0] != str(os.getpid())
""",
    "UnixDatagramServer answers, an empty datagram and a large one, too": DATAGRAMS
    + """
with serving(UnixDatagrams(PATH, Handler)):
    client = sender(PATH)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**18)
    assert exchange(client, b"a") == b"A"
    for size in (0, 1, 8192, 60000):
        assert len(exchange(client, b"x" * size)) == min(size, UnixDatagrams.max_packet_size)
""",
    "UnixDatagramServer.handle_request handles one datagram": DATAGRAMS
    + """
with UnixDatagrams(PATH, Handler) as server:
    client = sender(PATH)
    client.send(b"a")
    server.handle_request()
    assert client.recv(64) == b"A"
""",
}


@pytest.mark.parametrize("promise", CASES)
def test_request(folder: Path, promise: str) -> None:
    """Such a request is served as under the stock class (each parameter is a promise)."""
    run_program(folder, CASES[promise])
