"""How children are brought to an end: asked, asked again, cut, killed.

The law: policy only. It is asked at every turn of the parent's loop what to send to whom, and when to be asked again.
"""

from __future__ import annotations

import signal

from upperd.child import CUT, DRAIN

FIRST_REPEAT = 0.02
"""Seconds after which SIGTERM is sent again, doubled each time: it may have come in the instant before accept()."""
LONGEST_REPEAT = 0.5
CUT_SECONDS = 2.0
"""What a child has for answering what the kernel had taken, after the deadline, before SIGKILL."""


class Drain:
    """One drain, from its first SIGTERM to its last SIGKILL. Times are seconds of `time.monotonic`."""

    def __init__(self, now: float, timeout: float) -> None:
        self._repeat = FIRST_REPEAT
        self._next = now
        self._deadline = now + timeout
        self._stage = DRAIN

    @property
    def is_cutting(self) -> bool:
        """Whether the deadline is over."""
        return self._stage != DRAIN

    def hasten(self, now: float) -> None:
        """The deadline is now."""
        self._deadline = min(self._deadline, now)

    def signal_due(self, now: float) -> signal.Signals | None:
        """What every child that is left is to be sent at this moment: SIGTERM, SIGUSR1, SIGKILL, or nothing."""
        if self._stage == DRAIN and now >= self._deadline:
            self._stage, self._deadline = CUT, now + CUT_SECONDS
            self._repeat, self._next = FIRST_REPEAT, now
        elif self._stage == CUT and now >= self._deadline:
            self._stage = signal.SIGKILL
            self._next = now
        if now < self._next:
            return None
        self._next = now + self._repeat
        self._repeat = min(self._repeat * 2, LONGEST_REPEAT)
        return self._stage

    def next_deadline(self) -> float:
        """When `signal_due` wants to be asked again."""
        if self._stage == signal.SIGKILL:
            return self._next
        return min(self._next, self._deadline)
