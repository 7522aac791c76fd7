"""Accepts connections from the listeners of a parent.

It never reads from a connection. It accepts at most BATCH connections for each event, so that a flood does not starve
the timers. While descriptors are scarce or the queue is full, it does not watch the listeners, and the kernel queues.
"""

from __future__ import annotations

import errno
from functools import partial

from upperd.server.limits import Throttle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from upperd.server.mixin import PreforkingMixIn
    from upperd.server.parent import Parent

BATCH = 8
MOST_IN_VAIN = 64
"""Errors of connections, one after the other, that are none of connections any more: a sandbox refuses to accept."""
_ITS_OWN = (
    errno.ECONNABORTED, errno.EPERM, errno.EPROTO, errno.ENOPROTOOPT, errno.ENETDOWN, errno.ENETUNREACH,
    errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENONET, errno.EOPNOTSUPP,
)  # fmt: skip
"""Errors of one connection (accept(2), "Error handling"): the next accept may succeed."""


class Accepter:
    """Takes connections from the listeners of one parent."""

    def __init__(self, parent: Parent) -> None:
        self._parent = parent
        self._is_watching = False
        self._throttle = Throttle()
        self._tries = 1
        self._in_vain = 0
        self.is_on = False
        parent.loop.timers.append(self._turn)

    def adjust(self) -> None:
        """Start or stop watching the listeners."""
        wanted = self.is_on and not self._parent.queue.is_full and self._throttle.until is None
        if wanted == self._is_watching:
            return
        self._is_watching = wanted
        for server in self._parent.servers:
            if wanted:
                self._parent.loop.watch(server.fileno(), partial(self._accept, server))
            else:
                self._parent.loop.unwatch(server.fileno())

    @property
    def has_failed(self) -> bool:
        """Whether the last accept failed."""
        return self._throttle.is_wary

    def stop(self) -> None:
        self.is_on = False
        self.adjust()

    def _accept(self, server: PreforkingMixIn) -> None:
        """Accept as many as arrived last time, and more next time if there were: a failed try costs, too."""
        tries = self._tries
        for accepted in range(tries):
            try:
                if not server.accept_one():
                    self._tries = max(1, accepted)
                    return
            except OSError as error:
                self._in_vain += 1
                if error.errno in _ITS_OWN and self._in_vain < MOST_IN_VAIN:
                    continue
                self._failed(error)
                return
            self._throttle.forget()
            self._in_vain = 0
            if self._parent.queue.is_full or not self.is_on:
                return
        self._tries = min(BATCH, 2 * tries)

    def _failed(self, error: OSError) -> None:
        """Pause: to try again at once would spin (accept(2), EMFILE)."""
        pause = self._throttle.failed(self._parent.loop.now)
        if pause is not None:
            self._parent.loop.call_timers(self._parent.loop.now + pause)
            self._parent.observer.accept_failed(error, pause)
            self._parent.population.dismiss(1)  # if descriptors are short, this frees one
        self.adjust()

    def _turn(self, now: float) -> float | None:
        if self._throttle.until is not None and self._throttle.is_over(now):
            self.adjust()
        return self._throttle.until
