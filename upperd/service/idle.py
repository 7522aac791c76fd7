"""When nobody needs the daemon any more, and it may leave to be started again by its next client.

`Idle` is asked at every turn of the parent's loop. Times are seconds of `time.monotonic`, and those of the scoreboard
the microseconds of the same clock.
"""

from __future__ import annotations

import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from upperd.server import scoreboard
    from upperd.server.parent import Parent


class Idle:
    """How long nothing has been done."""

    def __init__(self, board: scoreboard.Scoreboard, seconds: float, leave: Callable[[], object], now: float) -> None:
        """`leave` is called when nothing was done for `seconds`, and again after that time as long as we are there."""
        self._board = board
        self._leave = leave
        self._ended = -1
        self._since = now
        self.seconds = seconds
        """0: never."""

    def turn(self, now: float) -> float | None:
        """Leave if it is time to; return when to be asked again."""
        if not self.seconds:
            return None
        self._look(now)
        if now >= self._since + self.seconds:
            self._since = now
            self._leave()
        return self._since + self.seconds

    def _look(self, now: float) -> None:
        """Find out since when nothing has been done."""
        ended = self._board["ended"]
        if self._board.busy() or ended != self._ended:
            self._ended, self._since = ended, now
        else:
            # A child that is reused may have served meanwhile without waking anybody.
            self._since = max(self._since, self._board.last_active_usec() / 1e6)


def may_leave(parent: Parent, listening: list[socket.socket]) -> bool:
    """Withdraw every child that waits; whether nobody has come at this very moment.

    Who was accepted is served; who is in a queue by now need not wait for a manager to start us again.
    """
    if not parent.withdraw():
        return False
    queue = select.poll()
    for sock in listening:
        queue.register(sock, select.POLLIN)
    return not queue.poll(0)
