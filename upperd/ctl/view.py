"""What `upperctl` sees of a daemon: its scoreboard, whether it runs, its processes; and the lines that say so.

Read-only: the scoreboard file, the lock beside it, /proc. The daemon is never asked, so it need not answer.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from upperd.base import installation, locks, paths
from upperd.base.text import plural, printable
from upperd.ctl.output import PLAIN, Paint
from upperd.server import layout
from upperd.server.snapshot import ScoreboardError, Snapshot, pid_started, read

RUNNING, NOT_RUNNING, UNKNOWN = 0, 3, 4
"""Exit statuses of `upperctl status`, as the LSB has them for an init script's."""
WORDS = {RUNNING: "running", NOT_RUNNING: "not running", UNKNOWN: "unknown"}
_COLOURS = {RUNNING: "green", NOT_RUNNING: "red", UNKNOWN: "yellow"}
_TROUBLE = (
    *("crashed", "cut", "killed", "overdue", "stopped", "lost", "refused", "unanswered"),
    *("fork_failures", "records_lost"),
)


class Usage(NamedTuple):
    """Of one process: bytes, and microseconds of processor time."""

    rss_bytes: int
    """Resident; what processes share is counted for each of them."""
    pss_bytes: int | None
    """The same with its share of what is shared. None: only root may ask."""
    user_usec: int
    system_usec: int
    reaped_user_usec: int
    """Of its children that have ended."""
    reaped_system_usec: int

    @property
    def memory_bytes(self) -> int:
        """The better figure of the two that are known."""
        return self.rss_bytes if self.pss_bytes is None else self.pss_bytes

    @property
    def cpu_usec(self) -> int:
        """Its own processor time."""
        return self.user_usec + self.system_usec


def of_process(pid: int, parent: int | None = None) -> Usage | None:
    """Ask for one process; None: it is gone, hidden, or not a child of `parent`.

    A pid in a scoreboard may be another process's by now, so a child is asked for its parent, too.
    """
    import psutil  # which takes a while, and is not needed where no daemon runs

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            if parent is not None and process.ppid() != parent:
                return None
            rss, pss = process.memory_info().rss, None
            with suppress(psutil.AccessDenied):
                # psutil 8 has a new name for it.
                pss = int((getattr(process, "memory_footprint", None) or process.memory_full_info)().pss)
            # Processor time of its own and of its children: user, system, user, system.
            return Usage(rss, pss, *(round(seconds * 1e6) for seconds in process.cpu_times()[:4]))
    except (psutil.Error, OSError, ValueError):
        return None


def of_daemon(snapshot: Snapshot) -> dict[int, Usage]:
    """By pid: of the daemon of this snapshot and of its children, as far as the kernel tells."""
    parent = snapshot.header["pid"]
    if (usage := of_process(parent)) is None:
        return {}
    children = {child["pid"]: of_process(child["pid"], parent) for child in snapshot.children}
    return {parent: usage, **{pid: usage for pid, usage in children.items() if usage is not None}}


class DaemonView:
    """One look at a daemon: the scoreboard's path, what stands in it (if it can be read), whether the daemon runs."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.snapshot: Snapshot | None = None
        self.problem, self.is_denied = "", False
        """Why there is no snapshot; and whether that is since we may not read it."""
        self.usages: dict[int, Usage] = {}
        """Memory and processor time by pid, once `load_usages` has looked."""
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
        if pid_started(self.header["pid"]) == self.header["pid_started"] != 0:
            return RUNNING
        # Where /proc hides the processes of others (proc(5), hidepid), init has no entry either.
        return NOT_RUNNING if os.path.exists("/proc/1/stat") else UNKNOWN

    @property
    def name(self) -> str:
        """What the daemon is called; without a snapshot, as its folder says."""
        return self.snapshot.name if self.snapshot is not None else paths.name_of(self.path)

    @property
    def header(self) -> dict[str, int]:
        """The header of the snapshot; empty without one."""
        return self.snapshot.header if self.snapshot is not None else {}

    @property
    def children(self) -> list[dict[str, int]]:
        """The children that live: a daemon that was killed leaves its slots as they were."""
        return self.snapshot.children if self.snapshot is not None and self.state != NOT_RUNNING else []

    def load_usages(self) -> DaemonView:
        """Look at the processes, too, where the daemon runs; returns itself."""
        if self.snapshot is not None and self.state != NOT_RUNNING:
            self.usages = of_daemon(self.snapshot)
        return self


def find(path: str | None) -> DaemonView:
    """Look at the daemon of the socket at `path`; with none, at the first of the default paths that has a daemon."""
    if path is not None and not paths.is_abstract(path):
        return DaemonView(paths.find_scoreboard(path))
    candidates = paths.trusted_sockets(dict(os.environ), os.geteuid())
    if path is not None:  # an abstract name lies in no folder, its scoreboard in one of these
        candidates = [paths.stand_in(path, candidate) for candidate in candidates]
    views = [DaemonView(paths.find_scoreboard(candidate)) for candidate in candidates]
    telling = [view for view in views if view.snapshot is not None or view.state == RUNNING]
    return min(telling, key=lambda view: (RUNNING, UNKNOWN, NOT_RUNNING).index(view.state), default=views[-1])


def explain(view: DaemonView) -> str:
    """Why there are no figures, and what to do."""
    how = installation.command("start", "upperd --socket PATH")
    cure = {
        RUNNING: "; it keeps its statistics in memory that only it can see (its log says why)",
        NOT_RUNNING: f": start the daemon ({how}), or name its socket with --socket",
    }.get(view.state, "")
    return f"{printable(view.problem)}{cure}"


def title(view: DaemonView, paint: Paint = PLAIN) -> str:
    """One line: which daemon, whether it runs, and in which phase of its life it is."""
    styles = ("bold", _COLOURS[view.state])
    dot = paint("\u25cf ", *styles) if paint.is_on else ""
    word = paint(WORDS[view.state], *styles)
    if view.snapshot is None:
        return f"{dot}{printable(view.name)}: {word}"
    phase = f", {drain_text(view) or layout.PHASES[view.header['phase']]}" if view.state == RUNNING else ""
    last = "" if view.state == RUNNING else "; these are its last figures"
    which = printable(f"{view.name} {view.snapshot.version}")
    return f"{dot}{which}: {word} (pid {view.header['pid']}){phase}{last}"


def drain_text(view: DaemonView) -> str:
    """What to tell a client of a daemon that drains; empty: it does not."""
    if view.state == NOT_RUNNING or view.snapshot is None or not view.snapshot.drain_seconds:
        return ""
    return f"draining, try again in {view.snapshot.drain_seconds} s"


def age(view: DaemonView) -> float:
    """Seconds since the daemon started."""
    return (layout.now_usec() - view.header["started_usec"]) / 1e6


def children_text(view: DaemonView) -> str:
    """How many children there are of how many."""
    waiting = [child["waiting"] for child in view.children]
    return f"{waiting.count(0)} busy, {waiting.count(1)} spare, at most {view.header['max_children']}"


def queue_text(header: dict[str, int]) -> str:
    """How many connections wait for a child, of how many users."""
    users = f" of {plural(header['queued_users'], 'user')}" if header["queued"] else ""
    return f"{plural(header['queued'], 'connection')}{users}, at most {header['max_queue']}"


def trouble_text(header: dict[str, int]) -> str:
    """What has gone wrong, counted; empty: nothing."""
    return counts_text(header, [name for name in _TROUBLE if header[name]])


def counts_text(header: dict[str, int], names: Iterable[str]) -> str:
    """Fields of the header with their names."""
    return ", ".join(f"{header[name]} {name.replace('_', ' ')}" for name in names)


def is_exact(usages: Iterable[Usage]) -> bool:
    """Whether memory can be summed up: without the division of what is shared, the sum is many times too large."""
    return all(usage.pss_bytes is not None for usage in usages)
