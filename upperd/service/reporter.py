"""When to say what: STATUS and the watchdog to the manager, the account of every child to the log.

The law: the daemon's loop asks at every turn; nothing here waits. One status a second at most and only when it
changes; RECORDS_A_SECOND ends of children a second, the rest summed in one entry; every abnormal end.
"""

from __future__ import annotations

import os
import signal
import time

from upperd.base.text import size
from upperd.server import layout, scoreboard
from upperd.server.observer import End, Observer
from upperd.server.slot import now_usec
from upperd.service import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from upperd.service.log import Log
    from upperd.service.notify import Notifier

STATUS_SECONDS = 1.0
RECORDS_A_SECOND = 50
"""Of normal ends. The journal drops from a flood; what is summed still adds up."""

_SUMMED = ("connections", "messages", "bytes_in", "bytes_out", "undecodable", "refused", "unanswered")


class Reporter(Observer):
    """Observes the children of one daemon, and reports."""

    def __init__(
        self, board: scoreboard.Scoreboard, log: Log, notifier: Notifier, watchdog_usec: int = 0
    ) -> None:
        self._board = board
        self._log = log
        self._notifier = notifier
        self._watchdog_seconds = watchdog_usec / 2e6 if watchdog_usec else None
        self._next_watchdog = 0.0
        self._next_status = 0.0
        self._status = ""
        self._is_heard = True
        self._seen = -1
        self._was_busy = False
        self._window = 0.0
        self._records = 0
        self._unrecorded: dict[str, int] | None = None
        self._refused = dict.fromkeys(("refused", "refused_access", "refused_user", "refused_rate"), 0)
        self.phase = "starting"
        """The word that the status begins with; none while serving."""

    # Turns

    def turn(self, now: float, happened: bool = True) -> float | None:
        """Report what is due; return when to be asked again."""
        if self._unrecorded is not None and now >= self._window:
            self._write_sum()
        deadline = self._report_status(now, happened)
        if self._unrecorded is not None and (deadline is None or self._window < deadline):
            deadline = self._window
        self.at_rest = deadline is None
        if self._watchdog_seconds is not None:
            deadline = self._feed_watchdog(now, deadline)
        return deadline

    def _report_status(self, now: float, happened: bool) -> float | None:
        """Send the status if one is due. Returns when the next may be; None: nothing moves."""
        busy = self._board.busy()
        seen = self._board["forked"] + self._board["ended"]
        # At rest it is a child that wakes us: one that is reused may have served and be idle again by now.
        was_woken = self.at_rest and happened
        if busy == 0 and seen == self._seen and not (was_woken or self._was_busy or self._refused_more()):
            return None
        if now < self._next_status:
            return self._next_status
        self._next_status = now + STATUS_SECONDS
        self._was_busy = busy > 0
        if busy == 0:
            self._seen = seen
        if self._refused_more():
            self._write_refused()
        self._send_status()
        return self._next_status

    def _refused_more(self) -> bool:
        """Whether somebody was refused since the last entry about that."""
        return self._board["guarded"] != 0 and self._count_refused() > 0

    def _count_refused(self) -> int:
        return total(self._board, "refused") - self._refused["refused"]

    def _write_refused(self) -> None:
        before = self._refused
        self._refused = {name: total(self._board, name) for name in before}
        new = {name: count - before[name] for name, count in self._refused.items()}
        reasons = ", ".join(f"{new[name]} for {text}" for name, text in _REASONS if new[name])
        who = self._board["denied_uid"]
        last = {} if who == layout.UNKNOWN else {"peer_uid": who}
        text = f"refused {new['refused']} connections: {reasons}; the last of {_user(who)}"
        self._log.write(log.WARNING, "deny", text, **new, **last)

    def status(self) -> str:
        """The status of this moment."""
        return status_line(self._board, self.phase)

    def _send_status(self) -> None:
        """Send the status if it has changed."""
        if self._notifier.is_connected:
            status = self.status()
            if status != self._status and self._tell(f"STATUS={status}"):
                self._status = status

    def _feed_watchdog(self, now: float, deadline: float | None) -> float:
        """The loop turns: say so, at half of the time that the manager gives."""
        assert self._watchdog_seconds is not None
        if now >= self._next_watchdog:
            self._tell("WATCHDOG=1")
            self._next_watchdog = now + self._watchdog_seconds
        return self._next_watchdog if deadline is None else min(deadline, self._next_watchdog)

    def _tell(self, assignment: str) -> bool:
        """Notify the manager. That it does not listen is said once, until it does."""
        is_heard = self._notifier.send(assignment)
        if self._is_heard and not is_heard:
            self._log.write(log.WARNING, "notify", "the service manager takes no messages, ignoring")
        self._is_heard = is_heard
        return is_heard

    # What happens

    def throttled(self, reason: str, pause: float) -> None:
        """No child is forked for a while."""
        self._log.write(log.WARNING, "throttle", f"{reason}; forking again in {pause:g} s", pause_usec=int(pause * 1e6))

    def child_stopped(self, pid: int) -> None:
        """A child waits no more, and does not end."""
        text = f"child {pid} is stopped; where it waited, another takes its place"
        self._log.write(log.WARNING, "stopped", text, child_pid=pid)

    def scoreboard_overwritten(self) -> None:
        """What stood in the scoreboard is lost."""
        self._log.write(log.ERROR, "scoreboard", "somebody has written over the scoreboard; its totals begin anew")

    def resumed(self) -> None:
        """Forking works again."""
        self._log.write(log.INFO, "resume", "children serve again")

    def deadline_passed(self, left: int) -> None:
        """The drain deadline is over."""
        self._log.write(log.WARNING, "cut", f"the drain deadline is over: {left} children are cut", children=left)

    def child_ended(self, end: End) -> None:
        """Account for one child: every abnormal end, and as many normal ones as the rate allows."""
        if end.was_cut or end.was_killed or end.was_overdue:
            self._write_record(log.WARNING, end)
        elif end.is_abnormal:
            self._write_record(log.ERROR, end)
        elif not end.words[layout.CONNECTIONS]:
            if self._log.is_on(log.DEBUG):
                self._write_record(log.DEBUG, end)
        elif self._log.is_on(log.INFO):
            self._record_normal(end)

    def _record_normal(self, end: End) -> None:
        now = time.monotonic()
        if now >= self._window:
            if self._unrecorded is not None:
                self._write_sum()
            self._window, self._records = now + 1.0, 0
        self._records += 1
        if self._records <= RECORDS_A_SECOND:
            self._write_record(log.INFO, end)
            return
        if self._unrecorded is None:
            self._unrecorded = dict.fromkeys(("children", *_SUMMED), 0)
        self._unrecorded["children"] += 1
        for name in _SUMMED:
            self._unrecorded[name] += end.words[layout.SLOT_FIELDS.index(name)]

    def _write_sum(self) -> None:
        assert self._unrecorded is not None
        summed, self._unrecorded = self._unrecorded, None
        text = f"{summed['children']} more children served {summed['connections']} connections"
        if not summed["unanswered"]:  # there may be no datagrams
            del summed["unanswered"]
        self._log.write(log.INFO, "ends", text, **summed)

    def flush(self) -> None:
        """Write what is still summed: ends of children, and refusals."""
        if self._unrecorded is not None:
            self._write_sum()
        if self._count_refused() > 0:
            self._write_refused()

    def _write_record(self, level: int, end: End) -> None:
        self._log.write(level, "end", _sentence(end), **_fields(end))
        self._board["records_lost"] = self._log.lost


# Words

_REASONS = (
    ("refused_access", "their user"),
    ("refused_user", "the limit of children per user"),
    ("refused_rate", "the rate of their user"),
)


def total(board: scoreboard.Scoreboard, name: str) -> int:
    """A total of the header, the living included."""
    field = layout.SLOT_FIELDS.index(name)
    return board[name] + sum(int(row.words[field]) for row in board.living())


def status_line(board: scoreboard.Scoreboard, phase: str) -> str:
    """The STATUS of sd_notify(3): one line for `systemctl status`."""
    rows = list(board.living())
    busy = [row for row in rows if row.state == layout.BUSY]
    total = {name: board[name] + sum(int(row.words[field]) for row in rows) for name, field in _TOTALS}
    spare = len(rows) - len(busy)
    parts = [
        f"{len(busy)} busy, {spare} spare of {board['max_children']} children",
        f"{total['connections']} connections, {size(total['bytes_in'])} in, {size(total['bytes_out'])} out",
    ]
    trouble = [(total[name], name) for name in ("refused", "unanswered")]
    trouble += [(board[name], name.replace("_", " ")) for name in _TROUBLE]
    if any(count for count, _ in trouble):
        parts.append(", ".join(f"{count} {name}" for count, name in trouble if count))
    if busy:
        parts.append(_busiest(max(busy, key=lambda row: int(row.words[layout.BYTES_IN]))))
    return (f"{phase}: " if phase else "") + "; ".join(parts)


_TROUBLE = ("crashed", "cut", "killed", "overdue", "fork_failures")
_TOTALS = (
    ("connections", layout.CONNECTIONS),
    ("bytes_in", layout.BYTES_IN),
    ("bytes_out", layout.BYTES_OUT),
    ("refused", layout.REFUSED),
    ("unanswered", layout.UNANSWERED),
)


def _busiest(row: scoreboard.Row) -> str:
    words = row.words
    return f"busiest {words[layout.PID]} ({peer(words)}) {size(words[layout.BYTES_IN])} in"


def peer(words: memoryview | tuple[int, ...]) -> str:
    """Who is at the other end, for people."""
    return _user(words[layout.PEER_UID])


def _user(uid: int) -> str:
    return "unknown peer" if uid == layout.UNKNOWN else f"uid {uid}"


def ending(status: int | None) -> str:
    """How a process ended, from its wait(2) status: an exit code, or the name of a signal."""
    if status is None:
        return "unknown"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return signal.Signals(number).name
        except ValueError:
            return f"signal {number}"
    return str(os.WEXITSTATUS(status))


def _sentence(end: End) -> str:
    words = end.words
    served = f"served {words[layout.CONNECTIONS]} of {peer(words)}, {size(words[layout.BYTES_IN])}"
    if end.was_killed:
        return f"child {end.pid} {served}, was killed at the drain deadline"
    if end.was_overdue:
        return f"child {end.pid} {served}, was killed: it had not ended at its limit"
    if end.was_cut:
        return f"child {end.pid} {served}, was cut at the drain deadline"
    if not end.is_abnormal:
        return f"child {end.pid} {served}"
    hint = " (out of memory?)" if end.status == signal.SIGKILL else ""
    how = "by" if end.status is not None and os.WIFSIGNALED(end.status) else "with exit code"
    return f"child {end.pid} {served}, ended {how} {ending(end.status)}{hint}"


def _fields(end: End) -> dict[str, object]:
    words, rusage = end.words, end.rusage
    known = {name: words[field] for name, field in _RECORDED if words[field] != layout.UNKNOWN}
    if not words[layout.UNANSWERED]:
        del known["unanswered"]
    since = words[layout.CONNECTED] or words[layout.STARTED]
    fields: dict[str, object] = {"child_pid": end.pid, **known}
    fields["duration_usec"] = max(0, now_usec() - since)
    fields["exit"] = ending(end.status)
    fields["outcome"] = _outcome(words[layout.OUTCOME])
    if rusage is not None:
        fields["maxrss_kb"] = rusage.ru_maxrss
        fields["user_usec"] = int(rusage.ru_utime * 1e6)
        fields["system_usec"] = int(rusage.ru_stime * 1e6)
    return fields


def _outcome(number: int) -> str:
    return layout.OUTCOMES[number] if number < len(layout.OUTCOMES) else "unknown"


_RECORDED = tuple(
    (name, layout.SLOT_FIELDS.index(name))
    for name in (
        "listener",
        "peer_uid",
        "peer_gid",
        "peer_pid",
        "connections",
        "messages",
        "bytes_in",
        "bytes_out",
        "undecodable",
        "refused",
        "unanswered",
    )
)
