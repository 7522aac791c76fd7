"""What a parent keeps to: how many children, how long a connection may take, and when to stop trying for a while.

Seconds are of `time.monotonic`. Nothing here sleeps: the loop's time-out waits.
"""

from __future__ import annotations

import resource
import sys

from upperd.server.layout import Outcome

_RESERVE = 64
"""Descriptors for what is neither a child's nor a connection: listeners, the log, whatever the program has open."""
FIRST_PAUSE = 0.1
"""Seconds; doubled with every failure that follows at once."""
LONGEST_PAUSE = 5.0
"""Seconds. Long enough not to add to whatever is wrong with the host, short enough for its end to be noticed soon."""


class Limits:
    """The limits of one parent. Changed at any time, followed at once."""

    def __init__(self, max_children: int, spare_children: int, max_children_per_user: int, max_queue: int) -> None:
        self.max_children = max_children
        self.spare_children = spare_children
        """Children that wait for a user's first connection, where `max_children` leaves room."""
        self.max_children_per_user = max_children_per_user
        """Of `max_children`, those that serve one user."""
        self.max_queue = max_queue
        self.idle_timeout = self.max_lifetime = 0.0
        """Seconds without a byte, or in all, after which a connection is ended; 0: never."""
        self.max_bytes = 0
        """Bytes that a client may send; 0: any number."""
        self.reuses_unknown = False
        """Whether peers of whom no uid is known share children, as if they were one user."""
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._descriptors = sys.maxsize if descriptors == resource.RLIM_INFINITY else descriptors

    @property
    def queue_room(self) -> int:
        """Connections that wait at most: `max_queue`, or fewer, so that descriptors are left to fork children with.

        A child takes one, its connection another, and its fork a third. If those that wait had them all, and the
        children ended, nothing would ever be served again.
        """
        return max(1, min(self.max_queue, self._descriptors - 3 * self.max_children - _RESERVE))

    def reached(self, active_usec: int, connected_usec: int, now_usec: int) -> Outcome | None:
        """Which limit of time a connection has reached, that last moved and began at these moments."""
        if self.max_lifetime and now_usec - connected_usec >= self.max_lifetime * 1e6:
            return Outcome.LIFETIME
        if self.idle_timeout and now_usec - max(active_usec, connected_usec) >= self.idle_timeout * 1e6:
            return Outcome.IDLE
        return None


def seven_eighths(max_children: int) -> int:
    """The children that one user may have where nothing else is said, so that one user alone never has all of them."""
    return max(1, max_children * 7 // 8)


class Throttle:
    """A pause that grows while failures follow each other, and is forgotten at the first success."""

    def __init__(self) -> None:
        self._pause = self._failed = 0.0
        self.until: float | None = None
        """The end of the pause; None: there is none."""

    def failed(self, now: float) -> float | None:
        """Something failed: return the seconds of the pause that begins, None where one is under way."""
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
        """It works: the next pause is a short one."""
        self._pause = 0.0

    def succeeded(self, begun_usec: int) -> bool:
        """It works: a child forked at `begun_usec` was of use. True: for the first time after a failure.

        One that was forked before the last failure tells nothing of now.
        """
        if not self._pause or begun_usec < self._failed * 1e6:
            return False
        self.forget()
        return True
