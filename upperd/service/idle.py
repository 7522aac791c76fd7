"""When no client needs the daemon any more, and it may leave to be started again by the next one."""

from __future__ import annotations

import select

from upperd.server.parent import Parent
from upperd.service import log
from upperd.service.listeners import Listener
from upperd.service.log import Log


class IdleExit:
    """How long nothing has been done. Times are seconds of `time.monotonic`."""

    def __init__(self, parent: Parent) -> None:
        self._parent = parent
        self._served = -1
        self._since = parent.loop.now
        self.seconds = 0.0
        """After so long without a connection the parent is stopped; 0: never."""

    def take(self, seconds: float, listeners: list[Listener], log_to: Log) -> None:
        """Take the setting, if a manager would start us again."""
        if seconds and not all(listener.activated for listener in listeners):
            seconds = 0.0
            log_to.write(log.WARNING, "idle", "idle-exit is ignored: no manager listens for us while we are away")
        self.seconds = seconds

    def may_leave(self, listeners: list[Listener]) -> bool:
        """Whether no client has come at this very moment: it need not wait for a manager to start us."""
        if not self._parent.withdraw():
            return False
        queue = select.poll()
        for listener in listeners:
            queue.register(listener.socket, select.POLLIN)
        return not queue.poll(0)

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
