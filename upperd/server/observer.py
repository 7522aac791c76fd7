"""What the parent tells of its children: the account of each that has ended, and who is told.

The law: data and hooks only. The parent calls; who observes decides what is worth saying (reporter.py).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from resource import struct_rusage


class End:
    """The account of one child that has ended. `words` is its row (see layout.SLOT_FIELDS)."""

    __slots__ = ("is_abnormal", "pid", "rusage", "status", "was_cut", "was_killed", "was_overdue", "words")

    def __init__(
        self, pid: int, status: int | None, rusage: struct_rusage | None, words: tuple[int, ...]
    ) -> None:
        self.pid = pid
        self.status = status
        """Of wait(2); None: somebody else reaped it."""
        self.rusage = rusage
        self.words = words
        self.was_cut = False
        self.was_killed = False
        self.was_overdue = False
        """Whether it was killed since it had outlasted a limit."""
        self.is_abnormal = status is not None and status != 0
        """Whether it ended by a signal or with an exit code that is not 0."""


class Observer:
    """Who is told what happens. This one does nothing with it."""

    at_rest = False
    """Whether nothing needs a turn before something happens; then every connection taken wakes the parent."""

    def turn(self, now: float, happened: bool = True) -> float | None:
        """At every turn of the loop; `happened`: something woke it, not only the time.

        Returns when the next turn is wanted at the latest (`time.monotonic`).
        """
        return None

    def child_ended(self, end: End) -> None:
        """A child was reaped."""

    def throttled(self, reason: str, pause: float) -> None:
        """No child is forked for `pause` seconds."""

    def child_stopped(self, pid: int) -> None:
        """A child was found stopped; it counts as busy from now on."""

    def scoreboard_overwritten(self) -> None:
        """Somebody had written over the scoreboard; it has been repaired."""

    def resumed(self) -> None:
        """Forking works again."""

    def deadline_passed(self, left: int) -> None:
        """The drain deadline is over; `left` children are cut."""
