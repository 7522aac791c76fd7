"""How often a user comes: the connections of each, counted by the parent, and the penalty for too many.

The model is that of sshd_config(5), PerSourcePenalties. A connection costs its user the time that it would take at the
highest rate allowed; what was spent comes back as time goes by. Who is more than BURST_SECONDS ahead is kept out until
the time that was spent is over: so a user may come in a burst, and a worse offence costs more, LONGEST_PENALTY or the
price of one connection at most.

The law: the parent alone counts, from the scoreboard, and looks at it LOOKS_A_SECOND times at most; children read who
is kept out. So a burst that is shorter than that passes, and is paid for.
"""

from __future__ import annotations

from upperd.server.layout import CONNECTIONS, PEER_UID

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from upperd.server.children import Living
    from upperd.server.observer import End
    from upperd.server.scoreboard import Scoreboard
    from upperd.service.guard import Guard

BURST_SECONDS = 1.0
LONGEST_PENALTY = 60.0
"""Seconds."""
_LONGEST_COST = 366 * 86400.0
"""Seconds: what one connection may cost at most, at a rate of next to nothing."""
LOOKS_A_SECOND = 20
MOST_USERS = 4096
"""Users whose time is kept; of more, those are forgotten that are the least ahead."""


class Rates:
    """The rate of every user of one daemon."""

    def __init__(
        self, board: Scoreboard, guard: Guard, children: Iterable[Living], is_at_rest: Callable[[], bool]
    ) -> None:
        """`is_at_rest`: whether the next connection is going to wake the parent."""
        self._board = board
        self._guard = guard
        self._children = children
        self._is_at_rest = is_at_rest
        self._counted: dict[int, int] = {}
        """By pid: the connections of a living child that were counted."""
        self._spent: dict[int, float] = {}
        """By uid: when what was spent is over."""
        self._next_look = 0.0
        self._highest = 0.0

    def limit(self, highest: float) -> None:
        """Allow so many connections of one user a second from now on; 0: no limit, and nobody owes anything."""
        if highest and not self._highest:
            for child in self._children:  # what came before is not counted
                self._counted[child.pid] = self._board.words(child.index)[CONNECTIONS]
        elif not highest and self._highest:
            self._counted.clear()
            self._spent.clear()
            self._guard.let_everybody_in()
        self._highest = highest

    def turn(self, now: float) -> float | None:
        """Look at who came, if it is time to; return when to be asked again."""
        if not self._highest:
            return None
        if now < self._next_look:
            return self._next_look
        self._next_look = now + 1 / LOOKS_A_SECOND
        came = self._count_living(now)
        self._guard.let_in(int(now * 1e6))
        return None if not came and self._is_at_rest() else self._next_look

    def child_ended(self, end: End, now: float) -> None:
        """A child was reaped: count what was not counted while it lived."""
        if self._highest:
            self._count(end.pid, end.words, now)
        self._counted.pop(end.pid, None)

    def _count_living(self, now: float) -> bool:
        """Count the connections of the living. Returns whether there are new ones."""
        connections, counted, came = self._board.connections(), self._counted, False
        for child in self._children:  # there may be thousands, of which nearly all do as they did
            if connections[child.index] != counted.get(child.pid, 0):
                came |= self._count(child.pid, self._board.words(child.index), now)
        return came

    def _count(self, pid: int, words: memoryview | tuple[int, ...], now: float) -> bool:
        """Count a child's connections. Returns whether there are new ones."""
        connections = words[CONNECTIONS]
        new = connections - self._counted.get(pid, 0)
        if new <= 0:
            return False
        self._counted[pid] = connections
        self._spend(words[PEER_UID], new, now)
        return True

    def _spend(self, uid: int, connections: int, now: float) -> None:
        cost = 1 / self._highest
        spent = max(self._spent.get(uid, 0.0), now) + connections * cost
        # One connection is paid for in full, however low the rate is.
        self._spent[uid] = spent = min(spent, now + max(LONGEST_PENALTY, min(cost, _LONGEST_COST)))
        if len(self._spent) > MOST_USERS:
            self._forget(now)
        if spent - now > BURST_SECONDS:
            self._guard.keep_out(uid, int(spent * 1e6), int(now * 1e6))

    def _forget(self, now: float) -> None:
        left = sorted(((spent, uid) for uid, spent in self._spent.items() if spent > now), reverse=True)
        self._spent = {uid: spent for spent, uid in left[: MOST_USERS // 2]}
