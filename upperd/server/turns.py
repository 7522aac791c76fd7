"""Whether users take turns, where a child serves several connections, but never two users.

A child that waits for more of its own user then takes what another user sends, and has to pass it up: that costs more
than a fork. So for a while after a connection was passed up every child ends after one, and none waits for its own.
The law: the parent alone writes it, as a bit of the scoreboard's header that children look at.
"""

from __future__ import annotations

from time import monotonic

from upperd.server.layout import CONNECTIONS, TURNS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from upperd.server.observer import End
    from upperd.server.scoreboard import Scoreboard

FEWEST, MOST = 64, 1024
"""Children that end after one connection before it is tried again whether users take turns: at first, and at most.
Who comes alone pays no more than so many forks for somebody who comes now and then."""


class Turns:
    """Of the children of one parent."""

    def __init__(self, board: Scoreboard) -> None:
        self._board = board
        self._lasting = FEWEST
        self._began = self._ended = 0.0
        self.left = 0
        """Children that are still to end; 0: users do not take turns."""

    def begin(self) -> None:
        """A connection was passed up: one that comes soon after the last time makes this time longer."""
        if self.left == 0:
            now = monotonic()
            is_soon = now - self._ended < self._ended - self._began
            self._lasting = min(self._lasting * 2, MOST) if is_soon else FEWEST
            self._began = now
            self._board["guarded"] = self._board["guarded"] | TURNS
        self.left = self._lasting

    def child_ended(self, end: End) -> None:
        """One has ended meanwhile."""
        if end.words[CONNECTIONS]:
            self.left -= 1
            if self.left == 0:
                self._ended = monotonic()
                self._board["guarded"] = self._board["guarded"] & ~TURNS
