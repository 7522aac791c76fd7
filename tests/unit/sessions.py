"""Shared by the tests of a session: a session, its row, and its client."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from upperd.server.layout import ROW_FIELDS
from upperd.server.row import Row
from upperd.server.scoreboard import Scoreboard
from upperd.server.session import Session


class Pair:
    """A session and its client."""

    def __init__(self, session: Session, client: socket.socket, words: memoryview) -> None:
        self.session = session
        self.client = client
        self.words = words

    def figures(self, *names: str) -> list[int]:
        """These fields of the row."""
        return [self.words[ROW_FIELDS.index(name)] for name in names]


def _sockets(kind: str) -> tuple[socket.socket, socket.socket]:
    if kind == "unix":
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        return listener.accept()[0], client


@contextmanager
def connected(kind: str = "unix", max_bytes: int = 0) -> Iterator[Pair]:
    """A connection of this kind: unix, or tcp. The client waits 30 seconds at most."""
    served, client = _sockets(kind)
    client.settimeout(30)
    _, _, words = Scoreboard(slots=1).claim()
    row = Row(words, ["undecodable"])
    row.begin()
    session = Session(served.family, served.type, served.proto, served.detach())
    session.attach(row, is_unix=kind == "unix", max_bytes=max_bytes)
    with client, session:
        yield Pair(session, client, words)
