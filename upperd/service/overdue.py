"""Children that outlast their limits: stopped, spinning, or held up by a peer. The parent kills them.

A child ends its connection itself when a limit is reached (limits.py) or a reload no longer allows its peer. This is
for one that cannot. The law: nothing is done for a connection; the table is looked at once a second, and only while
there is a limit or a rule.
"""

from __future__ import annotations

import signal

from upperd.server.children import send
from upperd.server.layout import ACTIVE, BUSY, CLAIMED, COUNTED, EXPIRES, IDLE_LIMIT, OUTCOME, PASSED, RULES
from upperd.server.slot import now_usec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from upperd.server.children import Living
    from upperd.server.scoreboard import Scoreboard

GRACE_SECONDS = 5.0
"""How long a child may take to end at its limit: it answers what it has taken."""
_LOOK_SECONDS = 1.0


class Overdue:
    """Looks after the children of one parent."""

    def __init__(self, board: Scoreboard, children: Iterable[Living]) -> None:
        self._board = board
        self._children = children
        self._since: dict[int, float] = {}
        """By pid: when a child was first seen beyond a limit."""
        self._next_look = 0.0
        self.is_on = False
        """Whether there is a limit or a rule."""

    def turn(self, now: float) -> float | None:
        """Look, if it is time to; return when to be asked again."""
        if not self.is_on:
            return None
        if now >= self._next_look:
            self._next_look = now + _LOOK_SECONDS
            self._look(now)
        return self._next_look if self._board.busy() else None

    def _look(self, now: float) -> None:
        beyond = {child.pid: child for child in self._children if self._is_beyond(child)}
        self._since = {pid: self._since.get(pid, now) for pid in beyond}
        for pid, since in self._since.items():
            if now - since >= GRACE_SECONDS:
                beyond[pid].is_overdue = True
                send(signal.SIGKILL, [beyond[pid]])

    def _is_beyond(self, child: Living) -> bool:
        """Whether a child's connection should be over by now."""
        if self._board.state(child.index) != BUSY:
            return False
        words = self._board.words(child.index)
        # Of one that waited when it was stopped, or hands its connection to us, the words are of the one before.
        if not words[CLAIMED] or words[OUTCOME] == PASSED:
            return False
        if words[OUTCOME] in COUNTED or words[RULES] != self._board["rules"]:
            return True
        now, idle, expires = now_usec(), words[IDLE_LIMIT], words[EXPIRES]
        return 0 < idle < now - words[ACTIVE] or 0 < expires < now
