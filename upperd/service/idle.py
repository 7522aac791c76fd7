"""When no client needs the daemon any more, and it may leave to be started again by the next one."""

from __future__ import annotations

from upperd.server.parent import Parent


class IdleExit:
    """How long nothing has been done. Times are seconds of `time.monotonic`."""

    def __init__(self, parent: Parent) -> None:
        self._parent = parent
        self._served = -1
        self._since = parent.loop.now
        self.seconds = 0.0
        """After so long without a connection the parent is stopped; 0: never."""

    def turn(self, now: float) -> float | None:
        """Stop the parent if it is time to; return when to be asked again."""
        if not self.seconds:
            return None
        parent = self._parent
        served = parent.board.total("connections") + parent.board["refused"]
        if parent.roster.busy or parent.queue or served != self._served:
            self._served, self._since = served, now
        if now >= self._since + self.seconds:
            self._since = now
            parent.stop()
        return self._since + self.seconds
