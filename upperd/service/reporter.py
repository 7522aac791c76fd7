"""When to say what: STATUS and the watchdog to the manager, the record of every child to the log.

The law: the parent's loop asks; nothing here waits. One status a second at most and only when it changes;
RECORDS_A_SECOND ends of children a second, the rest summed in one entry; every abnormal end.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from upperd.base.paths import NAME
from upperd.base.text import plural
from upperd.server.exits import ExitRecord, Observer
from upperd.server.layout import UNKNOWN
from upperd.server.scoreboard import Scoreboard
from upperd.service import log, records
from upperd.service.log import Log
from upperd.service.notify import Notifier

STATUS_SECONDS = 1.0
WATCHDOG_RETRY_SECONDS = 0.1
"""How soon the next one follows a WATCHDOG=1 that the manager had no room for."""
RECORDS_A_SECOND = 50
"""Of normal ends. The journal drops from a flood; what is summed still adds up."""
_REASONS = {
    "refused_access": "their user",
    "refused_user": "their share of the queue",
    "refused_rate": "the rate of their user",
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
        """The daemon's, with which the status begins where it is another than upperd."""
        self.phase = "starting"
        """The word that the status begins with; none while serving."""

    # What is due

    def turn(self, now: float) -> float | None:
        """Report what is due; return when to be asked again. None: nothing moves, and there is no watchdog."""
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
        """Write what was refused, and send the status. Returns whether there was anything new."""
        was_refused = self._write_refused()
        status = self.status
        if status == self._status:
            return was_refused
        if not self._notifier.is_connected or self._tell(f"STATUS={status}"):
            self._status = status
        return True

    @property
    def status(self) -> str:
        """The status of this moment."""
        status = records.status_line(self._board, self.phase)
        return status if self.name == NAME else f"{self.name}: {status}"

    def _tell(self, assignment: str) -> bool:
        """Notify the manager. That it does not listen is said once, until it does."""
        is_heard = self._notifier.tell(assignment)
        if self._is_heard and not is_heard:
            self._log.write(log.WARNING, "notify", "the service manager takes no messages: trying again until it does")
        self._is_heard = is_heard
        return is_heard

    def flush(self) -> None:
        """Write what is still summed: ends of children, and refusals."""
        self._write_sum()
        self._write_refused()

    # What happens

    def refused(self, uid: int, reason: str) -> None:
        """A connection was refused: said with the next status, all of them in one entry."""
        self._refused[reason] += 1
        self._last_refused = uid

    def _write_refused(self) -> bool:
        refused, self._refused = self._refused, Counter()
        total = refused.total()
        if total:
            reasons = ", ".join(f"{refused[name]} for {text}" for name, text in _REASONS.items() if name in refused)
            fields = {"refused": total, **{name: refused[name] for name in _REASONS}, **_peer(self._last_refused)}
            text = f"refused {plural(total, 'connection')}: {reasons}; the last of {records.user(self._last_refused)}"
            self._log.write(log.WARNING, "deny", text, **fields)
        return total > 0

    def throttled(self, reason: str, pause: float) -> None:
        text = f"{reason}; forking again in {pause:g} s"
        if self.phase.startswith("starting"):
            self.phase = f"starting: no process to serve: {reason}"
        self._log.write(log.WARNING, "throttle", text, pause_usec=int(pause * 1e6))

    def resumed(self) -> None:
        self._log.write(log.INFO, "resume", "children serve again")

    def accept_failed(self, error: OSError, pause: float) -> None:
        text = f"no connection can be accepted: {error.strerror}; trying again in {pause:g} s"
        self._log.write(log.WARNING, "pause", text, pause_usec=int(pause * 1e6))

    def given_up(self, uid: int) -> None:
        text = f"a connection of {records.user(uid)} is closed: no child that received it began to serve it"
        self._log.write(log.ERROR, "lost", text, **_peer(uid))

    def scoreboard_overwritten(self) -> None:
        text = "something has written over the scoreboard; its totals begin anew"
        self._log.write(log.ERROR, "scoreboard", text)

    def deadline_passed(self, left: int) -> None:
        cut = "1 connection is cut" if left == 1 else f"{left} connections are cut"
        self._log.write(log.WARNING, "cut", f"the drain deadline is over: {cut}", connections=left)

    def child_ended(self, record: ExitRecord) -> None:
        """Account for one child: every abnormal end, and as many normal ones as the rate allows."""
        level = _level_of(record)
        if level == log.INFO and self._log.is_on(level) and self._has_recorded_enough():
            self._unrecorded.update(children=1, **records.counts(record, self._counters))
        elif self._log.is_on(level):
            self._log.write(level, "end", records.sentence(record), **records.fields(record, self._counters))
        self._board["records_lost"] = self._log.lost

    def _has_recorded_enough(self) -> bool:
        """Whether normal ends are only summed for the rest of this second; else one more is recorded."""
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
    if record.was_cut or record.was_killed or record.was_overdue or record.was_stopped:
        return log.WARNING
    if record.is_abnormal:
        return log.ERROR
    return log.INFO if record.was_handed else log.DEBUG


def _peer(uid: int) -> dict[str, int]:
    return {} if uid == UNKNOWN else {"peer_uid": uid}
