"""What the processes of a daemon take: memory and processor time, as the kernel tells it (proc(5))."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from upperd.server.snapshot import Snapshot


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


def is_exact(usages: Iterable[Usage]) -> bool:
    """Whether memory can be summed up: without the division of what is shared, the sum is many times too large."""
    return all(usage.pss_bytes is not None for usage in usages)
