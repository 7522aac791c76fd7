"""Ends the daemon after an idle time: the manager listens meanwhile, and starts it again for the next client."""

from __future__ import annotations

import select

from upperd.server.parent import Parent
from upperd.service import log
from upperd.service.listeners import Listener
from upperd.service.log import Log


class IdleExit:
    """Measures how long the daemon has been idle. Times are seconds of `time.monotonic`."""

    def __init__(self, parent: Parent) -> None:
        self._parent = parent
        self._served = -1
        self._since = parent.loop.now
        self.seconds = 0.0
        """The idle time after which the parent is stopped; 0: never."""

    def take(self, seconds: float, listeners: list[Listener], log_to: Log) -> None:
        """Set the idle time, unless we bound a listener ourselves: then no manager would start us again."""
        if seconds and not all(listener.activated for listener in listeners):
            seconds = 0.0
            log_to.write(log.WARNING, "idle", "idle-exit is ignored: no manager listens while upperd is not running")
        self.seconds = seconds

    def may_leave(self, listeners: list[Listener]) -> bool:
        """Stop accepting; returns whether we can exit: no client is served, or waits in a backlog."""
        if not self._parent.withdraw():
            return False
        queue = select.poll()
        for listener in listeners:
            queue.register(listener.socket, select.POLLIN)
        return not queue.poll(0)

    def turn(self, now: float) -> float | None:
        """Stop the parent if it has been idle for long enough; returns when to call this again, None: never."""
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
