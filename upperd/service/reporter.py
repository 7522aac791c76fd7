"""Decides when to report: STATUS and WATCHDOG to the manager, ends of children to the log. records.py has the words.

The parent's loop calls it, and nothing here waits. It sends at most one status a second, and only if it has changed. It
logs every abnormal end, and at most RECORDS_A_SECOND normal ends a second; one entry sums the rest.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from upperd.base.paths import NAME
from upperd.base.text import plural
from upperd.server.exits import COUNTED_REASONS, ExitRecord, Observer
from upperd.server.layout import UNKNOWN
from upperd.server.scoreboard import Scoreboard
from upperd.service import log, records
from upperd.service.log import Log
from upperd.service.notify import Notifier

STATUS_SECONDS = 1.0
WATCHDOG_RETRY_SECONDS = 0.1
"""How soon to send WATCHDOG=1 again if the manager had no room for it."""
RECORDS_A_SECOND = 50
"""Of normal ends. The journal drops records in a flood; sums still account for all children."""
_REASONS = {
    "refused_access": "by the access rules",
    "refused_user": "over one user's share of the queue",
    "refused_rate": "over one user's rate",
}


class Reporter(Observer):
    """Observes the children of one daemon, and reports."""

    def __init__(
        self, board: Scoreboard, log: Log, notifier: Notifier, watchdog_usec: int = 0, counters: Sequence[str] = ()
    ) -> None:
        self._board, self._log, self._notifier, self._counters = board, log, notifier, counters
        self._watchdog_seconds = watchdog_usec / 2e6
        self._next_watchdog = self._next_status = self._window = 0.0
        self._status = ""
        self._is_heard = True
        self._records = 0
        self._unrecorded: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._last_refused = UNKNOWN
        self.name = NAME
        """The daemon's name; the status begins with it unless it is upperd."""
        self.phase = "starting"
        """What the daemon is doing, for the status; empty while it serves."""

    # What is due

    def turn(self, now: float) -> float | None:
        """Report what is due; return when to be called again. None: nothing changes, and there is no watchdog."""
        if now >= self._window:
            self._write_sum()
        wanted = [self._window] if self._unrecorded else []
        if now < self._next_status:
            wanted.append(self._next_status)
        elif self._report():
            self._next_status = now + STATUS_SECONDS
            wanted.append(self._next_status)
        if self._watchdog_seconds:
            if now >= self._next_watchdog:
                is_heard = self._tell("WATCHDOG=1")
                self._next_watchdog = now + (self._watchdog_seconds if is_heard else WATCHDOG_RETRY_SECONDS)
            wanted.append(self._next_watchdog)
        return min(wanted, default=None)

    def _report(self) -> bool:
        """Log the refusals, and send the status. Returns whether there was anything new."""
        was_refused = self._write_refused()
        status = self.status
        if status == self._status:
            return was_refused
        if not self._notifier.is_connected or self._tell(f"STATUS={status}"):
            self._status = status
        return True

    @property
    def status(self) -> str:
        """The current status."""
        status = records.status_line(self._board, self.phase)
        return status if self.name == NAME else f"{self.name}: {status}"

    def _tell(self, assignment: str) -> bool:
        """Notify the manager; log once if it stops taking messages."""
        is_heard = self._notifier.tell(assignment)
        if self._is_heard and not is_heard:
            self._log.write(log.WARNING, "notify", "the service manager takes no messages: trying again until it does")
        self._is_heard = is_heard
        return is_heard

    def flush(self) -> None:
        """Log what is still summed: ends of children, and refusals."""
        self._write_sum()
        self._write_refused()

    # What happens

    def refused(self, uid: int, reason: str) -> None:
        """A connection was refused. One entry logs all refusals since the last, with the next status."""
        self._refused[reason] += 1
        self._last_refused = uid

    def _write_refused(self) -> bool:
        refused, self._refused = self._refused, Counter()
        total = refused.total()
        if total:
            reasons = ", ".join(f"{refused[name]} {text}" for name, text in _REASONS.items() if name in refused)
            fields = {"refused": total, **{name: refused[name] for name in _REASONS}, **_peer(self._last_refused)}
            text = f"refused {plural(total, 'connection')}: {reasons}; the last from {records.user(self._last_refused)}"
            self._log.write(log.WARNING, "deny", text, **fields)
        return total > 0

    def throttled(self, reason: str, pause: float) -> None:
        text = f"{reason}; forking again in {pause:g} s"
        if self.phase.startswith("starting"):
            self.phase = f"starting: no child process yet: {reason}"
        self._log.write(log.WARNING, "throttle", text, pause_usec=int(pause * 1e6))

    def resumed(self) -> None:
        self._log.write(log.INFO, "resume", "children serve again")

    def accept_failed(self, error: OSError, pause: float) -> None:
        text = f"cannot accept connections: {error.strerror}; trying again in {pause:g} s"
        self._log.write(log.WARNING, "pause", text, pause_usec=int(pause * 1e6))

    def given_up(self, uid: int) -> None:
        text = f"a connection of {records.user(uid)} was closed: no child began to serve it"
        self._log.write(log.ERROR, "lost", text, **_peer(uid))

    def scoreboard_overwritten(self) -> None:
        text = "the scoreboard was overwritten; its totals begin again at 0"
        self._log.write(log.ERROR, "scoreboard", text)

    def deadline_passed(self, left: int) -> None:
        cut = "1 connection is cut" if left == 1 else f"{left} connections are cut"
        self._log.write(log.WARNING, "cut", f"the drain deadline has passed: {cut}", connections=left)

    def child_ended(self, record: ExitRecord) -> None:
        """Log the end of a child: every abnormal end, and at most RECORDS_A_SECOND normal ones a second."""
        level = _level_of(record)
        if level == log.INFO and self._log.is_on(level) and self._has_recorded_enough():
            self._unrecorded.update(children=1, **records.counts(record, self._counters))
        elif self._log.is_on(level):
            self._log.write(level, "end", records.sentence(record), **records.fields(record, self._counters))
        self._board["records_lost"] = self._log.lost

    def _has_recorded_enough(self) -> bool:
        """Whether this second has all its records, so that normal ends are only summed. If not, count one more."""
        now = time.monotonic()
        if now >= self._window:
            self._write_sum()
            self._window, self._records = now + 1.0, 0
        self._records += 1
        return self._records > RECORDS_A_SECOND

    def _write_sum(self) -> None:
        summed, self._unrecorded = self._unrecorded, Counter()
        if summed:
            children = plural(summed["children"], "more child", "more children")
            text = f"{children} served {plural(summed['connections'], 'connection')}"
            self._log.write(log.INFO, "ends", text, **records.without_datagrams(summed))


def _level_of(record: ExitRecord) -> int:
    if record.was_cut or record.killed_for in COUNTED_REASONS:
        return log.WARNING
    if record.is_abnormal:
        return log.ERROR
    return log.INFO if record.was_handed else log.DEBUG


def _peer(uid: int) -> dict[str, int]:
    return {} if uid == UNKNOWN else {"peer_uid": uid}
