"""What a handler has as `self.request` for a datagram: socketserver's pair, with what a session has besides."""

from __future__ import annotations

from upperd.server.peer import NOT_KNOWN, Peer, PeerInfo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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
