"""The limits of a parent: how many children, how long a connection may take, and how long to pause after a failure.

Seconds are those of `time.monotonic`. Nothing here sleeps; the loop waits.
"""

from __future__ import annotations

import resource
import sys

from upperd.server.layout import Outcome

_RESERVE = 64
"""Descriptors kept for other uses: listeners, the log, files of the program."""
FIRST_PAUSE = 0.1
"""Seconds; doubled with each failure that follows."""
LONGEST_PAUSE = 5.0
"""Seconds: long enough to spare a host in trouble, short enough to notice its recovery."""


class Limits:
    """The limits of one parent. A change takes effect at once."""

    def __init__(self, max_children: int, spare_children: int, max_children_per_user: int, max_queue: int) -> None:
        self.max_children = max_children
        self.spare_children = spare_children
        """Children that wait for a user's first connection, as far as `max_children` leaves room."""
        self.max_children_per_user = max_children_per_user
        """The most children that serve one user."""
        self.max_queue = max_queue
        self.idle_timeout = self.max_lifetime = 0.0
        """Seconds without a byte, or in all, after which a connection is ended; 0: never."""
        self.max_bytes = 0
        """Bytes that a client may send; 0: any number."""
        self.reuses_unknown = False
        """Whether peers without a known uid share children, as if they were one user."""
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._descriptors = sys.maxsize if descriptors == resource.RLIM_INFINITY else descriptors

    @property
    def queue_room(self) -> int:
        """The most connections that may wait: `max_queue`, or fewer, so that descriptors are left for forks.

        A child takes one descriptor, its connection another, and its fork a third. If waiting connections held all of
        them, no child could be forked any more.
        """
        return max(1, min(self.max_queue, self._descriptors - 3 * self.max_children - _RESERVE))

    def reached(self, active_usec: int, connected_usec: int, now_usec: int) -> Outcome | None:
        """The limit of time that a connection has reached, which was last active and began at these times."""
        if self.max_lifetime and now_usec - connected_usec >= self.max_lifetime * 1e6:
            return Outcome.LIFETIME
        if self.idle_timeout and now_usec - max(active_usec, connected_usec) >= self.idle_timeout * 1e6:
            return Outcome.IDLE
        return None


def seven_eighths(max_children: int) -> int:
    """The default of `max_children_per_user`: one user never takes all children."""
    return max(1, max_children * 7 // 8)


class Throttle:
    """A pause that doubles with each failure and is reset by a success."""

    def __init__(self) -> None:
        self._pause = self._failed = 0.0
        self.until: float | None = None
        """The end of the pause; None: no pause."""

    def failed(self, now: float) -> float | None:
        """Begin a pause after a failure; returns its seconds, None if one is under way already."""
        if self.until is not None:
            return None
        self._pause = min(self._pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
        self._failed, self.until = now, now + self._pause
        return self._pause

    def is_over(self, now: float) -> bool:
        if self.until is not None and now >= self.until:
            self.until = None
        return self.until is None

    @property
    def is_wary(self) -> bool:
        """Whether nothing has succeeded since the last failure."""
        return self._pause > 0

    def forget(self) -> None:
        """Reset: the next pause is short."""
        self._pause = 0.0

    def succeeded(self, begun_usec: int) -> bool:
        """A child forked at `begun_usec` has served. Returns whether that is the first success after a failure.

        A child that was forked before the last failure proves nothing.
        """
        if not self._pause or begun_usec < self._failed * 1e6:
            return False
        self.forget()
        return True
