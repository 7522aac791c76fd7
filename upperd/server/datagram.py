"""`self.request` of a handler for datagrams: socketserver's pair, with `peer` and `count`."""

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
        """In the child that serves it: count in `row`. Returns self."""
        self._row = row
        return self

    @property
    def peer(self) -> PeerInfo:
        """The sender, as far as the kernel says; supplementary groups are never known."""
        return PeerInfo(self.sender)

    def count(self, name: str, count: int = 1) -> None:  # type: ignore[override]
        """As Session.count. It hides tuple.count."""
        self._row.count(name, count)


class DatagramHooks:
    """Hooks of a server for datagrams (hooks.py has the others)."""

    is_datagram: bool
    socket: socket

    def kept_by_children(self) -> tuple[int, ...]:
        """Descriptors of the server that a child keeps: stock handlers answer a datagram by its socket."""
        return (self.socket.fileno(),) if self.is_datagram else ()

    def as_message(self, request: Any) -> tuple[Any, ...] | None:
        """The plain values of a datagram, handed over in place of a descriptor; None for a connection."""
        return (request[0],) if self.is_datagram else None

    def send_answer(self, connection: Connection, row: Row, data: bytes, place: int) -> None:
        """Send the answer that a child has handed up, and count it in the child's row."""
