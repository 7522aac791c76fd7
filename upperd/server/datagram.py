"""What a handler has as `self.request` for a datagram: socketserver's pair, with what a session has besides."""

from __future__ import annotations

from upperd.server.peer import NOT_KNOWN, Peer, PeerInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from socket import socket
    from typing import Any

    from upperd.server.connection import Connection
    from upperd.server.row import Row


class Datagram(tuple[bytes, "Any"]):
    """(data, socket to answer by)."""

    sender: Peer = NOT_KNOWN
    _row: Row

    def attach(self, row: Row) -> Datagram:
        """In the child that serves it: count in `row`. Returns itself."""
        self._row = row
        return self

    @property
    def peer(self) -> PeerInfo:
        """Who has sent it, as far as the kernel says; its supplementary groups are never known."""
        return PeerInfo(self.sender)

    def count(self, name: str, count: int = 1) -> None:  # type: ignore[override]
        """As Session.count; it hides the one that tuples have."""
        self._row.count(name, count)


class DatagramHooks:
    """What a parent asks of a server for datagrams besides (hooks.py)."""

    is_datagram: bool
    socket: socket

    def kept_by_children(self) -> tuple[int, ...]:
        """What of that our children need all the same: to answer a datagram takes the server's socket."""
        return (self.socket.fileno(),) if self.is_datagram else ()

    def as_message(self, request: Any) -> tuple[Any, ...] | None:
        """A datagram as plain values, which are handed over in the place of a connection; None: it is a connection."""
        return (request[0],) if self.is_datagram else None

    def send_answer(self, connection: Connection, row: Row, data: bytes, place: int) -> None:
        """Send the answer to a datagram, which its child has handed up, and count in the child's row."""
