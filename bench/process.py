"""What the kernel says of a process and of all that descend from it (proc(5))."""

from __future__ import annotations

import os
import sys
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """The process and its descendants that live."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in children for each in tree(int(child)))]


def _fields(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the third on; none where it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def cpu_seconds(pid: int) -> float:
    """CPU time of all, and of those of them that have been waited for. The sum is exact to a tick; user and system
    time by themselves are not."""
    return sum(sum(map(int, fields[11:15])) for each in tree(pid) if (fields := _fields(each))) / TICKS


def faults(pid: int) -> tuple[int, int]:
    """Minor page faults of the process itself, and of its children that it has waited for."""
    fields = _fields(pid)
    return int(fields[7]), int(fields[8])


def memory_kib(pid: int) -> int:
    """PSS of all: what each has for itself, and its part of what is shared."""
    return sum(_pss(each) for each in tree(pid))


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except PermissionError:
        sys.exit("bench: the memory of a daemon is closed to its own user: measure it as root")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
