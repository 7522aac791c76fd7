"""A datagram that a child hands on is the same for the child that gets it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseRequestHandler
from typing import Any

import pytest

from upperd.server.layout import UNKNOWN
from upperd.service.datagram import Datagram, UnixDatagramServer, receive_handed


class Keep(BaseRequestHandler):
    """Keeps what it is to answer."""

    def handle(self) -> None:
        seen.append((self.request[0], self.client_address))


seen: list[tuple[bytes, Any]] = []


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A bound socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("")
        yield listener


def _datagram(listener: socket.socket, data: bytes, address: Any, sender: int = 7) -> Datagram:
    datagram = Datagram((data, listener))
    datagram.address, datagram.sender = address, (sender, 8, 9)
    return datagram


@contextmanager
def _handed(datagram: Datagram) -> Iterator[socket.socket]:
    """The end that the other child gets."""
    with socket.socket(fileno=os.dup(datagram.fileno())) as connection:
        for end in datagram._ends:
            end.close()
        yield connection


@pytest.mark.parametrize("address", [None, "/run/client", "/run/\udcff", b"\0abcde", b"\0"])
@pytest.mark.parametrize("data", [b"", b"text", b"x" * 262_144])
def test_all_of_it_is_handed_on(listener: socket.socket, address: Any, data: bytes) -> None:
    """Text, sender and address are what they were, whatever they are; so is whether it was cut."""
    datagram = _datagram(listener, data, address)
    for is_cut in (False, True):
        datagram.is_cut = is_cut
        with _handed(datagram) as connection:
            received = receive_handed(connection, listener)
        assert (received[0], received.address, received.is_cut) == (data, address, is_cut)
        assert received.sender == (7, 8, 9)
        assert received[1] is listener
    datagram.sender = UNKNOWN, UNKNOWN, UNKNOWN
    with _handed(datagram) as connection:
        assert receive_handed(connection, listener).sender == (UNKNOWN, UNKNOWN, UNKNOWN)


def test_one_that_was_refused_is_forgotten(listener: socket.socket) -> None:
    """After a datagram that was handed on and refused, the next one is answered, not that one."""
    server = UnixDatagramServer(listener, Keep)
    seen.clear()
    with _handed(_datagram(listener, b"refused", "/a")) as connection:
        assert server.peer_credentials(connection) == (7, 8, 9)
    own = _datagram(listener, b"next", "/b", 1)
    assert server.peer_credentials(own) == (1, 8, 9)
    server.finish_request(own, own.address)
    assert seen == [(b"next", "/b")]
    server._answering.close()
