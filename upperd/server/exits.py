"""The record of a child that has ended, and the Observer that receives it and other events of the parent."""

from __future__ import annotations

from signal import SIGKILL

from upperd.server.layout import OUTCOME, OUTCOMES, ROW_FIELDS, Outcome
from upperd.server.row import failure_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from resource import struct_rusage

    from upperd.server.roster import Child
    from upperd.server.scoreboard import Scoreboard

COUNTED_REASONS = ("killed", "overdue", "stopped")
"""Reasons to kill a child that are fields of the header; a child killed for another one counts as crashed."""


class ExitRecord:
    """One child that has ended: what the parent knows, and what its row says, which may be false."""

    def __init__(self, child: Child, status: int | None, rusage: struct_rusage | None) -> None:
        self.pid = child.pid
        self.status = status
        """From wait(2); None: something else in the program has reaped it."""
        self.rusage = rusage
        self.was_handed = child.handed > 0
        """Whether it was handed a connection."""
        self.peer = child.peer
        """Of its last connection; the uid is that of its user."""
        self.listener = child.listener
        self.began_usec = child.connected_usec or child.started_usec
        """When it received its last connection, or else when it was forked."""
        self.row = tuple(child.row[: len(ROW_FIELDS)])
        """See layout.ROW_FIELDS."""
        self.failure = failure_of(child.row)
        """The exception that ended it, as failure.py writes it; empty: none, or the child could not write it."""
        self.is_abnormal = status is not None and status != 0
        outcome = child.ending or self.row[OUTCOME]
        self.outcome = OUTCOMES[outcome] if outcome < len(OUTCOMES) else "unknown"
        """How its last connection ended."""
        self.was_cut = child.ending is Outcome.CUT
        """Whether its connection was cut at the deadline of a drain."""
        self.killed_for = child.killed_for if status == SIGKILL else ""
        """Why the parent killed it, a reason of roster.py; empty: it did not."""

    def count(self, board: Scoreboard) -> None:
        """Count in the scoreboard how the child ended."""
        board.add("ended")
        if self.killed_for in COUNTED_REASONS:
            board.add(self.killed_for)
        elif self.was_cut and not self.killed_for:
            board.add("cut")
        elif self.is_abnormal:
            board.add("crashed")


class Observer:
    """Receives events of the parent. This one ignores them."""

    def child_ended(self, record: ExitRecord) -> None:
        """A child was reaped."""

    def throttled(self, reason: str, pause: float) -> None:
        """No child is forked for `pause` seconds."""

    def resumed(self) -> None:
        """Forking works again."""

    def accept_failed(self, error: OSError, pause: float) -> None:
        """No connection is accepted for `pause` seconds: the host or this process has run out of a resource."""

    def refused(self, uid: int, reason: str) -> None:
        """A connection of `uid` was refused; `reason` is a field of the header."""

    def given_up(self, uid: int) -> None:
        """A connection was closed because no child that received it began to serve it."""

    def scoreboard_overwritten(self) -> None:
        """Another process had written over the scoreboard; it is repaired."""

    def deadline_passed(self, left: int) -> None:
        """A drain has reached its deadline; the connections of `left` children are cut."""
