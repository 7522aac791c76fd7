"""Which descriptors of its parent a child closes first thing.

What it must not keep in any case is the parent's end of the link (above all the lifeline's, which would keep it up for
its sisters), the parent's epoll, and the listeners of other servers.
"""

from __future__ import annotations

import os
import select
from itertools import pairwise

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from upperd.server.child import Server
    from upperd.server.children import Children
    from upperd.server.link import Link


class Inheritance:
    """What the children of one parent inherit."""

    def __init__(self, link: Link, epoll: select.epoll, children: Children, servers: list[Server]) -> None:
        self._link = link
        self._epoll = epoll
        self._children = children
        self._servers = servers
        self._table_end = os.sysconf("SC_OPEN_MAX")
        self._known: dict[int, list[tuple[int, int]]] = {}
        """What a child of each server closes: made once, in one place, because a child writes to all of it."""
        self.keeps_the_rest = True
        """Whether children keep what else the program has open, as under the stock ForkingMixIn."""

    def not_for(self, server: Server, passed: tuple[socket.socket, object] | None) -> list[tuple[int, int]]:
        """The ranges of descriptors, from the first up to the second, that a child of `server` closes."""
        if self.keeps_the_rest:
            return self._of_the_parent(server)
        if passed is not None:
            return self._all_but(server, passed[0].fileno())
        if server.listener not in self._known:
            self._known[server.listener] = self._all_but(server)
        return self._known[server.listener]

    def _of_the_parent(self, server: Server) -> list[tuple[int, int]]:
        own = [*self._link.parent_descriptors(), self._epoll.fileno(), *self._children.pidfds()]
        own += [descriptor for other in self._servers if other is not server for descriptor in other.descriptors()]
        return [(descriptor, descriptor + 1) for descriptor in own if descriptor >= 0]

    def _all_but(self, server: Server, *passed: int) -> list[tuple[int, int]]:
        keep = sorted([0, 1, 2, *server.descriptors(), *self._link.child_descriptors(), *passed])
        gaps = [(low + 1, high) for low, high in pairwise(keep) if high - low > 1]
        return [*gaps, (keep[-1] + 1, self._table_end)]
