"""Measures the memory and the processor time of a daemon's processes (proc(5))."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from upperd.server.snapshot import Snapshot


class Usage(NamedTuple):
    """The usage of one process: memory in bytes, processor time in microseconds."""

    rss_bytes: int
    """Resident memory; shared memory is counted in full for each process."""
    pss_bytes: int | None
    """Resident memory with a proportional share of shared memory. None: not permitted (only root may read it)."""
    user_usec: int
    system_usec: int
    reaped_user_usec: int
    """User time of its children that have ended."""
    reaped_system_usec: int

    @property
    def memory_bytes(self) -> int:
        """The PSS if it is known, else the RSS."""
        return self.rss_bytes if self.pss_bytes is None else self.pss_bytes

    @property
    def cpu_usec(self) -> int:
        """Its own processor time."""
        return self.user_usec + self.system_usec


def of_process(pid: int, parent: int | None = None) -> Usage | None:
    """Measure one process; None if it is gone, hidden, or not a child of `parent`.

    The pid of a child may have been reused since it was written to the scoreboard, so `parent` is checked.
    """
    import psutil  # imported here: it is slow, and not needed if no daemon runs

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            if parent is not None and process.ppid() != parent:
                return None
            rss, pss = process.memory_info().rss, None
            with suppress(psutil.AccessDenied):
                # psutil 8 has a new name for memory_full_info().
                pss = int((getattr(process, "memory_footprint", None) or process.memory_full_info)().pss)
            # cpu_times(): own user and system time, then those of its children.
            return Usage(rss, pss, *(round(seconds * 1e6) for seconds in process.cpu_times()[:4]))
    except (psutil.Error, OSError, ValueError):
        return None


def of_daemon(snapshot: Snapshot) -> dict[int, Usage]:
    """The usage by pid of the daemon in this snapshot and of its children; processes that cannot be read are absent."""
    parent = snapshot.header["pid"]
    if (usage := of_process(parent)) is None:
        return {}
    children = {child["pid"]: of_process(child["pid"], parent) for child in snapshot.children}
    return {parent: usage, **{pid: usage for pid, usage in children.items() if usage is not None}}


def is_exact(usages: Iterable[Usage]) -> bool:
    """Whether memory can be summed up: without PSS, shared memory makes the sum many times too large."""
    return all(usage.pss_bytes is not None for usage in usages)
