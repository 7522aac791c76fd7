"""What `upperctl` shows of a daemon: find its scoreboard, tell whether it lives, put figures into words.

Read-only: the scoreboard file, the lock beside it, /proc. The daemon is never asked, so it need not answer.
"""

from __future__ import annotations

import os
import time

from upperd import layout, locks, paths, scoreboard
from upperd.log import printable
from upperd.reporter import size
from upperd.slot import now_usec
from upperd.snapshot import ScoreboardError, Snapshot, read

RUNNING, NOT_RUNNING, UNKNOWN = 0, 3, 4
"""Exit statuses of `upperctl status`, as the LSB has them for an init script's."""


class Sight:
    """One look at a daemon: the scoreboard's path, what stands in it (if it can be read), whether the daemon lives."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.snapshot: Snapshot | None = None
        self.problem = ""
        """Why there is no snapshot."""
        self.is_denied = False
        try:
            self.snapshot = read(path)
        except FileNotFoundError:
            self.problem = f"no scoreboard at {path}"
        except PermissionError:
            self.is_denied = True
            self.problem = f"{path}: permission denied; the daemon's user and group may read it"
        except (OSError, ScoreboardError) as error:
            self.problem = f"{path}: {error}"
        self.state = self._find_state()

    def _find_state(self) -> int:
        try:
            return RUNNING if locks.holder(paths.lock_of(self.path)) else NOT_RUNNING
        except FileNotFoundError:
            return NOT_RUNNING
        except OSError:
            pass  # the lock is for the daemon's user alone; its pid and when that one started tell as much
        if self.snapshot is None:
            return UNKNOWN
        header = self.snapshot.header
        if scoreboard.pid_started(header["pid"]) == header["pid_started"] != 0:
            return RUNNING
        return UNKNOWN if _pids_are_hidden() else NOT_RUNNING


def _pids_are_hidden() -> bool:
    """Whether /proc hides the processes of others (proc(5), hidepid)."""
    return not os.path.exists("/proc/1/stat")


def find(path: str | None) -> Sight:
    """Look at the daemon of the socket at `path`; with none, at the first that is to be expected and is there."""
    if path is not None:
        return Sight(paths.scoreboard_of(path))
    candidates = paths.trusted_sockets(dict(os.environ), os.geteuid())
    sights = [Sight(paths.scoreboard_of(candidate)) for candidate in candidates]
    for state in (RUNNING, UNKNOWN, NOT_RUNNING):
        for sight in sights:
            if sight.state == state and (sight.snapshot is not None or state == RUNNING):
                return sight
    return sights[-1]


def status_text(sight: Sight) -> str:
    """One screen: is it there, where does it listen, what does it do."""
    word = {RUNNING: "running", NOT_RUNNING: "not running", UNKNOWN: "unknown"}[sight.state]
    if sight.snapshot is None:
        cure = {
            RUNNING: "; it keeps its statistics in memory that only it can see (its log says why)",
            NOT_RUNNING: ": start the daemon (systemctl start upperd), or name its socket with --socket",
        }.get(sight.state, "")
        return f"upperd: {word}\n{printable(sight.problem)}{cure}"
    header, snapshot = sight.snapshot.header, sight.snapshot
    phase = f", {layout.PHASES[header['phase']]}" if sight.state == RUNNING else ""
    last = "" if sight.state == RUNNING else "; these are its last figures"
    trouble = [f"{header[name]} {name.replace('_', ' ')}" for name in _TROUBLE if header[name]]
    lines = [
        f"upperd {printable(snapshot.version)}: {word} (pid {header['pid']}){phase}{last}",
        f"   since        {_when(header['started_unix_usec'])}",
        *(f"   listening    {printable(listener)}" for listener in snapshot.listeners),
        f"   children     {snapshot.busy} busy, {snapshot.spare} spare, at most {header['max_children']}; "
        f"{header['connections_per_child']} connections each",
        f"   served       {header['connections']} connections, {header['messages']} messages, "
        f"{size(header['bytes_in'])} in, {size(header['bytes_out'])} out",
        f"   trouble      {', '.join(trouble) or 'none'}",
        f"   scoreboard   {sight.path}",
    ]
    # A terminal is not to obey what a path, or a broken file, has in it.
    return "\n".join(map(printable, lines))


_TROUBLE = ("crashed", "cut", "killed", "overdue", "refused", "fork_failures", "undecodable", "records_lost")


def _when(unix_usec: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_usec / 1e6))


_COLUMNS = ("PID", "STATE", "LISTENER", "UID", "PEER", "CONNS", "MSGS", "IN", "OUT", "IDLE", "ENDED")


def stats_text(snapshot: Snapshot) -> str:
    """A table of the children, and the totals."""
    now = now_usec()
    rows = [_COLUMNS, *(_row(child, now) for child in snapshot.children)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    header = snapshot.header
    totals = ", ".join(f"{header[name]} {name.replace('_', ' ')}" for name in _TOTALS)
    return "\n".join([*lines, "", f"total: {totals}"])


_TOTALS = (
    "forked",
    "ended",
    *layout.TOTALS,
    "passed",
    "crashed",
    "cut",
    "killed",
    "overdue",
    "fork_failures",
    "records_lost",
)


def _row(child: dict[str, int], now: int) -> tuple[str, ...]:
    idle = f"{max(0, now - child['active_usec']) / 1e6:.1f}s" if child["active_usec"] else "-"
    return (
        str(child["pid"]),
        "spare" if child["waiting"] else "busy",
        str(child["listener"]),
        _known(child["peer_uid"]),
        _known(child["peer_pid"]),
        str(child["connections"]),
        str(child["messages"]),
        size(child["bytes_in"]),
        size(child["bytes_out"]),
        idle,
        layout.OUTCOMES[child["outcome"]] or "-",
    )


def _known(number: int) -> str:
    return "-" if number == layout.UNKNOWN else str(number)


def stats_data(sight: Sight, snapshot: Snapshot) -> dict[str, object]:
    """All of the snapshot, for JSON. What is unknown is null; times are microseconds of CLOCK_MONOTONIC."""
    header = {name: value for name, value in snapshot.header.items() if name != "magic"}
    children = [_child_data(child) for child in snapshot.children]
    return {
        "version": snapshot.version,
        "running": {RUNNING: True, NOT_RUNNING: False}.get(sight.state),
        "scoreboard": sight.path,
        "now_usec": now_usec(),
        **header,
        "phase": layout.PHASES[header["phase"]],
        "listeners": snapshot.listeners,
        "busy": snapshot.busy,
        "spare": snapshot.spare,
        "children": children,
    }


def _child_data(child: dict[str, int]) -> dict[str, object]:
    known = {name: None if value == layout.UNKNOWN else value for name, value in child.items()}
    return {**known, "waiting": bool(child["waiting"]), "outcome": layout.OUTCOMES[child["outcome"]] or None}
