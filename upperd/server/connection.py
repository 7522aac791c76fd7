"""A connection in its parent, from its acceptance until a child has finished it.

The law: nothing here reads from it. A datagram is one, too.
"""

from __future__ import annotations

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from upperd.server.mixin import PreforkingMixIn
    from upperd.server.peer import Peer


class Connection:
    """A connection, or a datagram, from its acceptance until a child has finished it."""

    __slots__ = ("address", "is_reusable", "needs_fork", "peer", "request", "server", "tries", "user", "waits_since")

    def __init__(self, server: PreforkingMixIn, request: Any, address: Any, peer: Peer, *, is_reusable: bool) -> None:
        self.server = server
        self.request = request
        self.address = address
        self.peer = peer
        self.user = server.user_of(peer[0])
        """The uid of the user whose it is."""
        self.is_reusable = is_reusable
        """Whether its child may serve the next connection of the same uid."""
        self.needs_fork = False
        """Whether it cannot go over a channel (a TLS object, too large a datagram): a child is forked for it alone."""
        self.tries = 0
        self.waits_since = math.inf
        """When it began to wait for a child; infinite: not yet."""

    def close(self) -> None:
        """The parent needs it no more. The stock class closes its copy by this hook, too."""
        try:
            self.server.close_request(self.request)
        except Exception:
            self.server.handle_error(self.request, self.address)
