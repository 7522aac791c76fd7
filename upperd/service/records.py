"""Puts figures into words: the status line, and the log record of a child that has ended.

It only formats rows of the scoreboard. reporter.py decides when to send or log them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence

from upperd.base.text import plural, size
from upperd.server import layout
from upperd.server.exits import ExitRecord
from upperd.server.scoreboard import Scoreboard

_TROUBLE = ("crashed", "cut", "killed", "overdue", "stopped", "lost", "fork_failures")
COUNTED = ("connections", "messages", "bytes_in", "bytes_out", "unanswered")


def status_line(board: Scoreboard, phase: str) -> str:
    """The STATUS of sd_notify(3): one line for `systemctl status`."""
    living = list(board.living())
    busy = [(place, row) for place, row in living if place[layout.HANDED] != row[layout.FINISHED]]
    most = plural(board["max_children"], "child", "children")
    parts = [f"{len(busy)} busy, {len(living) - len(busy)} spare of {most}"]
    if board["queued"]:
        parts.append(f"{board['queued']} waiting of {plural(board['queued_users'], 'user')}")
    moved = f"{size(board.total('bytes_in'))} in, {size(board.total('bytes_out'))} out"
    parts.append(f"{plural(board.total('connections'), 'connection')}, {moved}")
    trouble = {"refused": board["refused"], "unanswered": board.total("unanswered")}
    trouble |= {name.replace("_", " "): board[name] for name in _TROUBLE}
    if any(trouble.values()):
        parts.append(", ".join(f"{count} {name}" for name, count in trouble.items() if count))
    if busy:
        place, row = max(busy, key=lambda child: int(child[1][layout.BYTES_IN]))
        parts.append(f"busiest {place[layout.PID]} ({user(place[layout.PEER_UID])}) {size(row[layout.BYTES_IN])} in")
    return (f"{phase}: " if phase else "") + "; ".join(parts)


def user(uid: int) -> str:
    """A peer's user, for people."""
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


_CAUSES = {
    "cut": ", was cut at the drain deadline",
    "killed": ", was killed at the drain deadline",
    "overdue": ", was killed: its connection did not end at a limit",
    "stopped": ", was killed: it did not begin to serve, or did not exit (stopped?)",
    "unruly": ", was killed: it reported more connections than it was handed",
}


def sentence(record: ExitRecord) -> str:
    """What a child did, and how it ended."""
    row = record.row
    served = f"served {row[layout.CONNECTIONS]} of {user(record.peer[0])}, {size(row[layout.BYTES_IN])}"
    reason = record.killed_for or ("cut" if record.was_cut else "")
    cause = _CAUSES.get(reason, "")
    if not reason and record.is_abnormal:
        hint = " (out of memory?)" if record.status == signal.SIGKILL else ""
        how = "by" if record.status is not None and os.WIFSIGNALED(record.status) else "with exit code"
        cause = f", ended {how} {ending(record.status)}{hint}"
    if record.failure:
        cause += f": {record.failure}"
    return f"child {record.pid} {served}{cause}"


def counts(record: ExitRecord, counters: Sequence[str]) -> dict[str, int]:
    """What a child has counted, by name; `counters`: the names of the handler's own counters."""
    names = {name: name for name in COUNTED} | {name: f"counter_{place}" for place, name in enumerate(counters)}
    return {name: record.row[layout.ROW_FIELDS.index(field)] for name, field in names.items()}


def fields(record: ExitRecord, counters: Sequence[str]) -> dict[str, object]:
    """What `sentence` says, and more, as fields of a log record."""
    rusage = record.rusage
    found: dict[str, object] = {"child_pid": record.pid, "listener": record.listener}
    peer = zip(("peer_uid", "peer_gid", "peer_pid"), record.peer, strict=True)
    found |= {name: value for name, value in peer if value != layout.UNKNOWN}
    found |= without_datagrams(counts(record, counters))
    found["duration_usec"] = max(0, layout.now_usec() - record.began_usec)
    found["exit"] = ending(record.status)
    found["outcome"] = record.outcome
    if record.failure:
        found["exception"] = record.failure
    if rusage is not None:
        found["maxrss_kb"] = rusage.ru_maxrss
        found["user_usec"] = int(rusage.ru_utime * 1e6)
        found["system_usec"] = int(rusage.ru_stime * 1e6)
    return found


def without_datagrams(counted: dict[str, int]) -> dict[str, int]:
    """The same without `unanswered` if that is 0: only datagrams can be unanswered."""
    return {name: count for name, count in counted.items() if count or name != "unanswered"}
