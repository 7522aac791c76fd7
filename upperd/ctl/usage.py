"""What the kernel knows of the daemon's processes: memory and processor time, asked of psutil.

A pid in a scoreboard may be anybody's by now, so a child is asked for its parent, too.
"""

from __future__ import annotations

from typing import NamedTuple

import psutil

from upperd.server.snapshot import Snapshot


class Usage(NamedTuple):
    """Of one process: bytes, and microseconds of processor time."""

    rss_bytes: int
    """Resident; what processes share is counted for each of them."""
    pss_bytes: int | None
    """The same with its share of what is shared. None: only root and the process's own user may ask."""
    user_usec: int
    system_usec: int
    reaped_user_usec: int
    """Of its children that have ended."""
    reaped_system_usec: int

    @property
    def memory_bytes(self) -> int:
        """The better figure of the two that can be had."""
        return self.rss_bytes if self.pss_bytes is None else self.pss_bytes

    @property
    def cpu_usec(self) -> int:
        """Its own processor time."""
        return self.user_usec + self.system_usec


def of_process(pid: int, parent: int | None = None, *, exact: bool = True) -> Usage | None:
    """Ask for one process; None: it is gone, hidden, or not a child of `parent`. `exact`: its `pss_bytes`, too."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            if parent is not None and process.ppid() != parent:
                return None
            times = process.cpu_times()
            spent = (times.user, times.system, times.children_user, times.children_system)
            rss = process.memory_info().rss
        return Usage(rss, _pss(process) if exact else None, *(round(seconds * 1e6) for seconds in spent))
    except (psutil.Error, OSError, ValueError):
        return None


def _pss(process: psutil.Process) -> int | None:
    # psutil 8 has a new name for it.
    ask = getattr(process, "memory_footprint", None) or process.memory_full_info
    try:
        return int(ask().pss)
    except psutil.AccessDenied:
        return None


def of_daemon(snapshot: Snapshot, *, exact: bool = True) -> dict[int, Usage]:
    """By pid: of the daemon of this snapshot and of its children, as far as they can be had."""
    parent = snapshot.header["pid"]
    found = {parent: of_process(parent, exact=exact)}
    if found[parent] is not None:
        found.update((child["pid"], of_process(child["pid"], parent, exact=exact)) for child in snapshot.children)
    return {pid: usage for pid, usage in found.items() if usage is not None}
