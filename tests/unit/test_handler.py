"""The handlers, on plain sockets and on one that fails."""

import errno
import socket
from socketserver import BaseServer
from typing import Any

import pytest

from upperd.server.session import is_gone
from upperd.upper.handler import UpperDatagramHandler, UpperHandler

NO_SERVER: Any = BaseServer


def test_a_stream_comes_back_piece_by_piece() -> None:
    """A client's text comes back in upper case; invalid or unfinished UTF-8 comes back unchanged."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"stra\xc3\x9fe \xff \xe2\x82")
        ours.shutdown(socket.SHUT_WR)
        UpperHandler(theirs, "", NO_SERVER)
        theirs.shutdown(socket.SHUT_WR)
        assert ours.makefile("rb").read() == b"STRASSE \xff \xe2\x82"


class _Failing:
    """A connection from which no read succeeds."""

    def __init__(self, number: int) -> None:
        self._number = number

    def recv(self, size: int) -> bytes:
        """Fail with the given error."""
        raise OSError(self._number, "as told")


@pytest.mark.parametrize(
    ("name", "gone"),
    [("ECONNRESET", True), ("EPIPE", True), ("ETIMEDOUT", True), ("EHOSTUNREACH", True), ("ENETUNREACH", True),
     ("EBADF", False), ("ENOMEM", False)],
)
def test_errors_reach_the_server(name: str, gone: bool) -> None:
    """A handler hides no error, so the server can tell that a peer is gone, or that the network has lost it."""
    request: Any = _Failing(getattr(errno, name))
    with pytest.raises(OSError, match="as told") as raised:
        UpperHandler(request, "", NO_SERVER)
    assert is_gone(raised.value) == gone


def test_a_datagram_comes_back_whole() -> None:
    """A datagram is answered in one, with an unfinished character at its end; an unnamed sender gets no answer."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        sent: list[tuple[bytes, str]] = []

        class _Sending:
            sendto = staticmethod(lambda data, address: sent.append((data, address)))

        UpperDatagramHandler((b"a\xe2\x82", _Sending), "/client", NO_SERVER)
        assert sent == [(b"A\xe2\x82", "/client")]
        UpperDatagramHandler((b"a", _Sending), "", NO_SERVER)
        UpperDatagramHandler((b"a", _Sending), None, NO_SERVER)
        assert len(sent) == 1
        UpperDatagramHandler((b"a", theirs), "/nowhere", NO_SERVER)  # nothing listens there: the answer is dropped
