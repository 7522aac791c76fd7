"""What `upperctl` shows of a daemon: find its scoreboard, tell whether it lives, put figures into words.

Read-only: the scoreboard file, the lock beside it, /proc. The daemon is never asked, so it need not answer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from upperd.base import locks, paths
from upperd.base.text import duration, plural, printable, size
from upperd.ctl.terminal import DOT, PLAIN, Paint
from upperd.server import layout, scoreboard
from upperd.server.slot import now_usec
from upperd.server.snapshot import ScoreboardError, Snapshot, read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from upperd.ctl.usage import Usage

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
    if path is not None and not paths.is_abstract(path):
        return Sight(paths.scoreboard_of(path))
    candidates = paths.trusted_sockets(dict(os.environ), os.geteuid())
    if path is not None:  # an abstract name lies in no folder, its scoreboard in one of these
        candidates = [paths.stand_in(path, candidate) for candidate in candidates]
    sights = [Sight(paths.scoreboard_of(candidate)) for candidate in candidates]
    for state in (RUNNING, UNKNOWN, NOT_RUNNING):
        for sight in sights:
            if sight.state == state and (sight.snapshot is not None or state == RUNNING):
                return sight
    return sights[-1]


def explain(sight: Sight) -> str:
    """Why there are no figures, and what to do."""
    cure = {
        RUNNING: "; it keeps its statistics in memory that only it can see (its log says why)",
        NOT_RUNNING: ": start the daemon (systemctl start upperd), or name its socket with --socket",
    }.get(sight.state, "")
    return f"{printable(sight.problem)}{cure}"


WORDS = {RUNNING: "running", NOT_RUNNING: "not running", UNKNOWN: "unknown"}
_COLOURS = {RUNNING: "green", NOT_RUNNING: "red", UNKNOWN: "yellow"}


def title(sight: Sight, paint: Paint = PLAIN) -> str:
    """One line: which daemon, whether it runs, and in which phase of its life it is."""
    styles = ("bold", _COLOURS[sight.state])
    dot = paint(f"{DOT} ", *styles) if paint.is_on else ""
    word = paint(WORDS[sight.state], *styles)
    if sight.snapshot is None:
        return f"{dot}upperd: {word}"
    header = sight.snapshot.header
    phase = f", {layout.PHASES[header['phase']]}" if sight.state == RUNNING else ""
    last = "" if sight.state == RUNNING else "; these are its last figures"
    return f"{dot}upperd {printable(sight.snapshot.version)}: {word} (pid {header['pid']}){phase}{last}"


def status_text(sight: Sight, usages: dict[int, Usage] | None = None, paint: Paint = PLAIN) -> str:
    """One screen: is it there, where does it listen, what does it do."""
    if sight.snapshot is None:
        return f"{title(sight, paint)}\n{explain(sight)}"
    header, snapshot = sight.snapshot.header, sight.snapshot
    age = (now_usec() - header["started_usec"]) / 1e6
    ago = f"; {duration(age)} ago" if sight.state == RUNNING else ""
    rows = [
        ("since", f"{_when(header['started_unix_usec'])}{ago}"),
        *(("listening", listener) for listener in snapshot.listeners),
        ("children", f"{snapshot.busy} busy, {snapshot.spare} spare, at most {header['max_children']}; "
                     f"{plural(header['connections_per_child'], 'connection')} each"),
        ("served", f"{plural(header['connections'], 'connection')}, {plural(header['messages'], 'message')}, "
                   f"{size(header['bytes_in'])} in, {size(header['bytes_out'])} out"),
    ]  # fmt: skip
    if usages:
        rows.append(("memory", memory_text(usages)))
    trouble = trouble_text(header)
    rows += [("trouble", trouble or "none"), ("scoreboard", sight.path)]
    # A terminal is not to obey what a path, or a broken file, has in it.
    lines = [(name, printable(text)) for name, text in rows]
    colours = {"trouble": "yellow"} if trouble else {}
    shown = [f"   {name:<12} {paint(text, *filter(None, [colours.get(name)]))}" for name, text in lines]
    return "\n".join([title(sight, paint), *shown])


TROUBLE = (
    *("crashed", "cut", "killed", "overdue", "refused", "unanswered"),
    *("fork_failures", "undecodable", "records_lost"),
)


def trouble_text(header: dict[str, int]) -> str:
    """What has gone wrong, counted; empty: nothing."""
    return ", ".join(f"{header[name]} {name.replace('_', ' ')}" for name in TROUBLE if header[name])


def is_exact(usages: Iterable[Usage]) -> bool:
    """Whether memory can be summed up: without the division of what is shared, the sum is many times too large."""
    return all(usage.pss_bytes is not None for usage in usages)


def memory_text(usages: dict[int, Usage]) -> str:
    """The memory of these processes."""
    if not is_exact(usages.values()):
        return "unknown: only root and the daemon's user may ask for it"
    total = sum(usage.memory_bytes for usage in usages.values())
    return f"{size(total)} in {plural(len(usages), 'process', 'processes')}"


def _when(unix_usec: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_usec / 1e6))
    except (OverflowError, ValueError, OSError):
        return "unknown"


def clock() -> str:
    """The time of day, for people."""
    return time.strftime("%H:%M:%S")


def stats_text(snapshot: Snapshot, usages: dict[int, Usage] | None = None, paint: Paint = PLAIN) -> str:
    """A table of the children, and the totals."""
    now = now_usec()
    exact = is_exact((usages or {}).values())
    # One listener needs no column, and without `usages` there are no such figures.
    columns = [name for name in _COLUMNS if (name != "LISTENER" or len(snapshot.listeners) > 1)
               and (usages is not None or name not in ("MEMORY", "CPU"))]  # fmt: skip
    cells = [_cells(child, now, (usages or {}).get(child["pid"]), exact) for child in snapshot.children]
    names = {"MEMORY": "PSS" if exact else "RSS"}
    rows = [[names.get(name, name) for name in columns], *([row[name] for name in columns] for row in cells)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(columns))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines[0] = paint(lines[0], "bold")
    header = snapshot.header
    # What did not happen is not listed, but for what is asked first.
    shown = [name for name in _TOTALS if header[name] or name in _TOTALS[:6]]
    totals = ", ".join(f"{header[name]} {name.replace('_', ' ')}" for name in shown)
    return "\n".join([*lines, "", f"total: {totals}"])


_COLUMNS = (
    "PID", "STATE", "LISTENER", "UID", "PEER", "CONNS", "MSGS", "IN", "OUT", "MEMORY", "CPU", "IDLE", "ENDED",
)  # fmt: skip
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


def _cells(child: dict[str, int], now: int, usage: Usage | None, exact: bool) -> dict[str, str]:
    """What stands in a row, by column."""
    memory = None if usage is None else usage.pss_bytes if exact else usage.rss_bytes
    return {
        "PID": str(child["pid"]),
        "STATE": "spare" if child["waiting"] else "busy",
        "LISTENER": str(child["listener"]),
        "UID": known(child["peer_uid"]),
        "PEER": known(child["peer_pid"]),
        "CONNS": str(child["connections"]),
        "MSGS": str(child["messages"]),
        "IN": size(child["bytes_in"]),
        "OUT": size(child["bytes_out"]),
        "MEMORY": "-" if memory is None else size(memory),
        "CPU": "-" if usage is None else f"{usage.cpu_usec / 1e6:.2f}s",
        "IDLE": f"{max(0, now - child['active_usec']) / 1e6:.1f}s" if child["active_usec"] else "-",
        "ENDED": layout.OUTCOMES[child["outcome"]] or "-",
    }


def known(number: int) -> str:
    """The number, or a dash for what cannot be known."""
    return "-" if number == layout.UNKNOWN else str(number)


def stats_data(sight: Sight, snapshot: Snapshot, usages: dict[int, Usage] | None = None) -> dict[str, object]:
    """All of the snapshot, for JSON. What is unknown is null; times are microseconds of CLOCK_MONOTONIC.

    Names are an interface: those of the scoreboard's fields, of Usage, and what stands here.
    """
    header = {name: value for name, value in snapshot.header.items() if name != "magic"}
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
        **_usage_data((usages or {}).get(header["pid"])),
        "children": [_child_data(child, (usages or {}).get(child["pid"])) for child in snapshot.children],
    }


USAGE_FIELDS = ("rss_bytes", "pss_bytes", "user_usec", "system_usec", "reaped_user_usec", "reaped_system_usec")


def _usage_data(usage: Usage | None) -> dict[str, int | None]:
    return {name: None if usage is None else getattr(usage, name) for name in USAGE_FIELDS}


def _child_data(child: dict[str, int], usage: Usage | None) -> dict[str, object]:
    words = {name: None if value == layout.UNKNOWN else value for name, value in child.items()}
    outcome = layout.OUTCOMES[child["outcome"]] or None
    # Nobody's children: what a child has reaped is always 0.
    own = {name: value for name, value in _usage_data(usage).items() if not name.startswith("reaped")}
    return {**words, "waiting": bool(child["waiting"]), "outcome": outcome, **own}
