"""A connection or a datagram, as the parent keeps it until a child has finished it. Nothing here reads from it."""

from __future__ import annotations

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from upperd.server.mixin import PreforkingMixIn
    from upperd.server.peer import Peer


class Connection:
    """What the parent knows of one connection or datagram."""

    __slots__ = ("address", "is_reusable", "needs_fork", "peer", "request", "server", "tries", "user", "waits_since")

    def __init__(self, server: PreforkingMixIn, request: Any, address: Any, peer: Peer, *, is_reusable: bool) -> None:
        self.server = server
        self.request = request
        self.address = address
        self.peer = peer
        self.user = server.user_of(peer[0])
        """The uid of its user."""
        self.is_reusable = is_reusable
        """Whether its child may serve the next connection of the same uid."""
        self.needs_fork = False
        """Whether it cannot be sent to a child (a TLS object, a large datagram), so that a child is forked for it."""
        self.tries = 0
        """How many children received it and ended before they began to serve it."""
        self.waits_since = math.inf
        """When it began to wait for a child; infinite: it has not waited."""

    def close(self) -> None:
        """Close the parent's copy, by the hook that the stock class uses for that."""
        try:
            self.server.close_request(self.request)
        except Exception:
            self.server.handle_error(self.request, self.address)
