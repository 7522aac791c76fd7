"""How children are brought to an end: asked, asked again, cut, killed.

The law: policy only. It is asked at every turn of the parent's loop what is due, and when to be asked again. Times are
seconds of `time.monotonic`.
"""

from __future__ import annotations

import signal

from upperd.server.signals import CUT, DRAIN

FIRST_REPEAT = 0.02
"""Seconds after which SIGTERM is sent again, doubled each time: it may have come in the instant before accept()."""
LONGEST_REPEAT = 0.5
CUT_SECONDS = 2.0
"""What a child has for answering what the kernel had taken, after the deadline, before SIGKILL."""


class Repeat:
    """When to send a signal, and send it again: at once, soon, then ever more slowly."""

    def __init__(self, now: float) -> None:
        self._pause = FIRST_REPEAT
        self.next = now

    def is_due(self, now: float) -> bool:
        """Whether to send it at this moment."""
        if now < self.next:
            return False
        self.next = now + self._pause
        self._pause = min(self._pause * 2, LONGEST_REPEAT)
        return True


class Drain:
    """One drain, from its first SIGTERM to its last SIGKILL."""

    def __init__(self, now: float, timeout: float) -> None:
        self._repeat = Repeat(now)
        self._deadline = now + timeout
        self._stage = DRAIN

    @property
    def is_cutting(self) -> bool:
        """Whether the deadline is over."""
        return self._stage != DRAIN

    @property
    def is_killing(self) -> bool:
        """Whether nobody has time left."""
        return self._stage == signal.SIGKILL

    def hasten(self, now: float) -> None:
        """The deadline is now."""
        self._deadline = min(self._deadline, now)

    def signal_due(self, now: float) -> signal.Signals | None:
        """What every child that is left is to be sent at this moment: SIGTERM, SIGUSR1, SIGKILL, or nothing."""
        if self._stage == DRAIN and now >= self._deadline:
            self._stage, self._deadline = CUT, now + CUT_SECONDS
            self._repeat = Repeat(now)
        elif self._stage == CUT and now >= self._deadline:
            self._stage = signal.SIGKILL
            self._repeat = Repeat(now)
        return self._stage if self._repeat.is_due(now) else None

    def next_deadline(self) -> float:
        """When `signal_due` wants to be asked again."""
        if self._stage == signal.SIGKILL:
            return self._repeat.next
        return min(self._repeat.next, self._deadline)
