"""Measures the page faults of a connection, and the memory of a connection that is held open.

It starts three servers: the daemon as `make install` installs it, with every rule and limit; the mixin as a library;
and the server from the documentation of socketserver. Each serves connections of 64 bytes. The output for each server:
minor page faults of the child and of the parent per connection (ru_minflt of wait4(2)), and the memory (PSS) that a
held connection adds, with 200 held or as many as the server can hold. A reused child has hardly any page faults per
connection, so the child's are only shown for servers with a process per connection. No compiler is needed.

    .venv/bin/python bench/faults.py
"""

from __future__ import annotations

import socket
import sys

from peers import PEERS, Peer
from process import faults, memory_kib
from server import Server, adopt_orphans, running

CONNECTIONS = 1000
HELD = 200
WARM = 20
MESSAGE = b"a" * 64
COLUMNS = ("child", "parent", "KiB a connection")
SERVERS = ("tutorial", "upperd", "mixin", "upperd-single", "mixin-single")
MOST_KIB = 600
"""The bound on the memory of a connection that upperd holds."""


def main() -> int:
    """Measure the servers. Exit status 1: a held connection of upperd takes more than MOST_KIB, or upperd-single has
    more page faults per connection than the tutorial's server."""
    adopt_orphans()
    found = {peer.name: measure(peer) for peer in PEERS if peer.name in SERVERS}
    print(f"{'':14}" + "".join(f"{column:>20}" for column in COLUMNS))
    for name in SERVERS:
        print(f"{name:14}" + "".join(_cell(found[name].get(column)) for column in COLUMNS))
    tutorial, single = found["tutorial"], found["upperd-single"]
    are_too_many = any(single[column] > tutorial[column] for column in ("child", "parent"))
    return int(are_too_many or found["upperd"]["KiB a connection"] > MOST_KIB)


def _cell(figure: float | None) -> str:
    return f"{'-':>20}" if figure is None else f"{figure:>20.1f}"


def measure(peer: Peer) -> dict[str, float]:
    """Start a server, load it, stop it."""
    with running(peer, held=HELD) as server:
        for _ in range(WARM):
            call(server)
        before, before_children = faults(server.pid)
        for _ in range(CONNECTIONS):
            call(server)
        # Children that are not reaped yet are not counted: a few of a thousand.
        after, after_children = faults(server.pid)
        memory = held_memory(server, min(HELD, peer.most))
    found = {"parent": (after - before) / CONNECTIONS, "KiB a connection": memory}
    if peer.name == "tutorial" or peer.name.endswith("-single"):
        found["child"] = (after_children - before_children) / CONNECTIONS
    return found


def connect(path: str) -> socket.socket:
    """Connect, with a time-out of 10 seconds for each operation."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(path)
    return connection


def call(server: Server) -> None:
    """Make one connection and verify its reply."""
    with connect(server.address) as connection:
        connection.sendall(MESSAGE)
        connection.shutdown(socket.SHUT_WR)
        reply = b"".join(iter(lambda: connection.recv(4096), b""))
    if reply != MESSAGE.upper():
        raise SystemExit(f"wrong reply: {reply!r}")


def held_memory(server: Server, count: int) -> float:
    """KiB that each of `count` open connections adds to the PSS of the server and its children."""
    base = memory_kib(server.pid)
    connections = []
    for _ in range(count):
        connection = connect(server.address)
        connection.sendall(MESSAGE)
        connection.recv(len(MESSAGE))
        connections.append(connection)
    held = memory_kib(server.pid)
    for connection in connections:
        connection.close()
    return (held - base) / count


if __name__ == "__main__":
    sys.exit(main())
