"""Which peers may connect and what they may take, as the settings say: the rules, the rates and the limits.

The law: what a setting means is here; how the limits are kept is in limits.py of the server.
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
"""Users whose rate is kept; of more, those are forgotten who have connected least."""


class Policy:
    """The policy of one daemon, towards every peer of every listener."""

    def __init__(self, settings: Settings) -> None:
        self.rules = AccessRules()
        self.rates = RateLimit()
        self.owners = Owners()
        self.limits = Limits(1, 1, 1, 1)
        self._set(settings)

    def refusal(self, request: Any, peer: Peer, *, is_private: bool) -> str:
        """Why this peer may not connect, as the field of the header that counts it; empty: it may."""
        if not self._admits(request, peer, is_private=is_private):
            return "refused_access"
        return "" if self.rates.admit(self.owners.of(peer[0]), monotonic()) else "refused_rate"

    def follow(self, settings: Settings, parent: Parent) -> None:
        """Go by these settings, which may have changed: connections that were admitted are judged anew."""
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
        """Whether the rules let the peer of a connection stay. (A datagram is served in an instant.)"""
        server = connection.server
        is_private = getattr(server, "is_private", False)
        return server.is_datagram or self._admits(connection.request, connection.peer, is_private=is_private)

    def _admits(self, request: Any, peer: Peer, *, is_private: bool) -> bool:
        """Whether the rules let this peer in: as the owner of its uid."""
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
        """Write the settings in the scoreboard, for its readers."""
        for name in ("max_children", "max_queue", "spare_children", "connections_per_child", "max_bytes"):
            board[name] = getattr(settings, name)
        board["max_children_per_user"] = children_per_user(settings)
        for name in ("drain_timeout", "idle_timeout", "max_lifetime"):
            board[f"{name}_usec"] = math.ceil(getattr(settings, name) * 1e6)  # upwards: 0 would mean that there is none


def children_per_user(settings: Settings) -> int:
    """The children that one user may have; 0 in the settings: all of them."""
    return min(settings.max_children_per_user or settings.max_children, settings.max_children)


class AccessRules:
    """Which users may connect, by the operator's word.

    The order is that of s6-ipcserver-access: what is said of the user, then of a group of the user's, then the default:
    if any user or group is allowed by name no other may connect, else all may. A peer of whom no uid is known (TCP) is
    matched by no rule. An abstract socket, and TCP in the place of a path, have no permissions, so where no user or
    group is allowed by name only root and the daemon's own user may connect to them.
    """

    def __init__(self) -> None:
        self.set((), (), ())
        self._own = (0, os.geteuid())

    def set(self, denied: Collection[int], users: Collection[int], groups: Collection[int]) -> None:
        """Go by these uids and gids from now on."""
        self._denied, self._users, self._groups = frozenset(denied), frozenset(users), frozenset(groups)

    def admit(self, request: Any, peer: Peer, *, is_private: bool = False) -> bool:
        """Whether this peer may connect; `is_private`: to a listener without permissions of its own."""
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
    """How often a user may connect: a token bucket for each. Times are seconds of `time.monotonic`.

    A user has a second's worth of connections at once, at least one, and gets new ones at the highest rate allowed.
    What comes beyond that is refused, and costs nothing. One number is kept for each user: when its bucket is full
    again (the generic cell rate algorithm, ITU-T I.371, which gives the answers of a bucket that is refilled all the
    time).
    """

    def __init__(self) -> None:
        self._cost = 0.0
        """Seconds that one connection takes at the highest rate; 0: there is no limit."""
        self._full_at: dict[int, float] = {}
        """By uid: when the bucket is full again."""

    def limit(self, highest: float) -> None:
        """Allow so many connections of one user a second from now on; 0: any number."""
        cost = 1 / highest if highest else 0.0
        if cost != self._cost:
            self._cost = cost
            self._full_at.clear()

    def admit(self, uid: int, now: float) -> bool:
        """Whether a connection of this user is within its rate; then it is counted."""
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
