"""When to stop trying: the pause after a failing fork, or after a child that ended before it was of use.

The law: nothing here sleeps. The throttle says until when; the loop's time-out waits for it.
"""

from __future__ import annotations

FIRST_PAUSE = 0.1
"""Seconds; doubled with every failure that follows at once."""
LONGEST_PAUSE = 5.0
"""Seconds. Long enough not to add to whatever is wrong with the host, short enough for nobody to notice its end."""


class Throttle:
    """A pause that grows while failures follow each other, and is forgotten at the first success."""

    def __init__(self) -> None:
        self._pause = 0.0
        self._failed = 0.0
        self.until: float | None = None
        """The end of the pause, in seconds of `time.monotonic`; None: there is none."""

    def failed(self, now: float) -> float | None:
        """Something failed: return the seconds of the pause that begins, None where one is under way."""
        if self.until is not None:
            return None
        self._pause = min(self._pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
        self.until = now + self._pause
        self._failed = now
        return self._pause

    def is_over(self, now: float) -> bool:
        """Whether one may try (again)."""
        if self.until is not None and now >= self.until:
            self.until = None
        return self.until is None

    def succeeded(self, begun_usec: int) -> bool:
        """It works: a child forked at `begun_usec` was of use. True: for the first time after a failure.

        One that was forked before the last failure tells nothing of now.
        """
        if not self._pause or begun_usec < self._failed * 1e6:
            return False
        self._pause = 0.0
        return True
