"""Decides by the settings which peers may connect, how often, and within which limits.

It knows what each setting means. It does not enforce the limits on children and connections: the server does.
"""

from __future__ import annotations

import math
import os
from time import monotonic

from upperd.server import peer as peers
from upperd.server.layout import UNKNOWN, Outcome
from upperd.server.limits import Limits
from upperd.service.subuids import Owners

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from upperd.server.connection import Connection
    from upperd.server.parent import Parent
    from upperd.server.peer import Peer
    from upperd.server.scoreboard import Scoreboard
    from upperd.service.settings import Settings

BURST_SECONDS = 1.0
_ROUNDING = 1e-9
MOST_USERS = 4096
"""The most users whose rate is kept. If there are more, the half with the emptiest buckets stays."""


class Policy:
    """The policy of one daemon, towards every peer of every listener."""

    def __init__(self, settings: Settings) -> None:
        self.rules = AccessRules()
        self.rates = RateLimit()
        self.owners = Owners()
        self.limits = Limits(1, 1, 1, 1)
        self._set(settings)

    def refusal(self, request: Any, peer: Peer, *, is_private: bool) -> str:
        """Why this peer may not connect: the scoreboard's field that counts such refusals; empty: it may."""
        if not self._admits(request, peer, is_private=is_private):
            return "refused_access"
        return "" if self.rates.admit(self.owners.of(peer[0]), monotonic()) else "refused_rate"

    def follow(self, settings: Settings, parent: Parent) -> None:
        """Apply settings that may have changed, and end the connections that the new rules do not admit."""
        self._set(settings)
        self.say(settings, parent.board)
        parent.board.extend(settings.max_children)
        for server in parent.servers:
            server.connections_per_child = settings.connections_per_child
        for child in parent.roster.serving():
            if child.connection is not None and not self._admits_still(child.connection):
                parent.patrol.end(child, Outcome.DENIED, parent.loop.now)
        denied = [connection for connection in parent.queue if not self._admits_still(connection)]
        parent.queue.remove(denied)
        for connection in denied:
            connection.server.refused(connection.request, connection.peer, "refused_access")
            connection.server.shutdown_request(connection.request)
        parent.population.follow_limits()
        parent.loop.call_timers()

    def _admits_still(self, connection: Connection) -> bool:
        """Whether the rules still admit the peer of a connection. A datagram is exempt: it is served in an instant."""
        server = connection.server
        is_private = getattr(server, "is_private", False)
        return server.is_datagram or self._admits(connection.request, connection.peer, is_private=is_private)

    def _admits(self, request: Any, peer: Peer, *, is_private: bool) -> bool:
        """Whether the rules admit this peer. A subordinate uid counts as its owner."""
        return self.rules.admit(request, (self.owners.of(peer[0]), *peer[1:]), is_private=is_private)

    def _set(self, settings: Settings) -> None:
        self.rules.set(settings.deny_user, settings.allow_user, settings.allow_group)
        self.rates.limit(settings.max_rate_per_user)
        self.owners = Owners(settings.subordinate_uids)
        limits = self.limits
        limits.max_children_per_user = children_per_user(settings)
        limits.reuses_unknown = settings.reuse_unknown
        for name in ("max_children", "spare_children", "max_queue", "idle_timeout", "max_lifetime", "max_bytes"):
            setattr(limits, name, getattr(settings, name))

    @staticmethod
    def say(settings: Settings, board: Scoreboard) -> None:
        """Write the settings to the scoreboard, for its readers."""
        for name in ("max_children", "max_queue", "spare_children", "connections_per_child", "max_bytes"):
            board[name] = getattr(settings, name)
        board["max_children_per_user"] = children_per_user(settings)
        for name in ("drain_timeout", "idle_timeout", "max_lifetime"):
            board[f"{name}_usec"] = math.ceil(getattr(settings, name) * 1e6)  # rounded up: 0 would mean no limit


def children_per_user(settings: Settings) -> int:
    """The most children that serve one user; 0 in the settings: all of them."""
    return min(settings.max_children_per_user or settings.max_children, settings.max_children)


class AccessRules:
    """Which users may connect: the operator's access rules.

    The order is that of s6-ipcserver-access: rules for the user, then rules for the user's groups, then the default.
    By default all users may connect; if any user or group is allowed by name, no other user may. No rule matches a peer
    without a known uid (TCP). An abstract socket, and TCP in place of a path, have no permissions: unless a user or
    group is allowed by name, only root and the daemon's own user may connect to them.
    """

    def __init__(self) -> None:
        self.set((), (), ())
        self._own = (0, os.geteuid())

    def set(self, denied: Collection[int], users: Collection[int], groups: Collection[int]) -> None:
        """Replace the rules: `denied` and `users` are uids, `groups` are gids."""
        self._denied, self._users, self._groups = frozenset(denied), frozenset(users), frozenset(groups)

    def admit(self, request: Any, peer: Peer, *, is_private: bool = False) -> bool:
        """Whether this peer may connect. `is_private`: the listener has no permissions of its own."""
        uid, gid, _ = peer
        names_any = bool(self._users or self._groups)
        if is_private and not names_any and uid not in self._own:
            return False
        if uid == UNKNOWN:
            return not names_any
        if uid in self._denied:
            return False
        if not names_any or uid in self._users:
            return True
        groups = self._groups
        return bool(groups) and (gid in groups or not groups.isdisjoint(peers.groups(request)))


class RateLimit:
    """Limits how often a user may connect: a token bucket for each. Times are seconds of `time.monotonic`.

    A bucket holds the connections of one second, at least one, and refills at the highest rate allowed. A connection
    that finds no token is refused, and takes none. Only one number is kept for each user: when its bucket will be full
    again. This is the generic cell rate algorithm (ITU-T I.371); its decisions are those of a bucket that is refilled
    continuously.
    """

    def __init__(self) -> None:
        self._cost = 0.0
        """Seconds between two connections at the highest rate; 0: no limit."""
        self._full_at: dict[int, float] = {}
        """By uid: when the bucket will be full again."""

    def limit(self, highest: float) -> None:
        """Allow each user `highest` connections a second, on average; 0: any number."""
        cost = 1 / highest if highest else 0.0
        if cost != self._cost:
            self._cost = cost
            self._full_at.clear()

    def admit(self, uid: int, now: float) -> bool:
        """Whether a connection of this user is within the rate; if so, it takes a token."""
        cost = self._cost
        if not cost:
            return True
        full_at = max(self._full_at.get(uid, now), now) + cost
        if full_at - now > max(BURST_SECONDS, cost) + _ROUNDING:
            return False
        self._full_at[uid] = full_at
        if len(self._full_at) > MOST_USERS:
            emptiest = sorted(((when, user) for user, when in self._full_at.items() if when > now), reverse=True)
            self._full_at = {user: when for when, user in emptiest[: MOST_USERS // 2]}
        return True
