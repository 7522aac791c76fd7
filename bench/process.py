"""Reads the CPU time, page faults and memory of a process and its descendants from /proc (proc(5))."""

from __future__ import annotations

import os
import sys
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """The process and its living descendants."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in children for each in tree(int(child)))]


def _fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on; empty if the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def cpu_seconds(pid: int) -> float:
    """The CPU time of the process tree, including children that were waited for. The sum of user and system time is
    exact to a tick; each alone is not."""
    return sum(sum(map(int, fields[11:15])) for each in tree(pid) if (fields := _fields(each))) / TICKS


def faults(pid: int) -> tuple[int, int]:
    """Minor page faults of the process itself, and of the children that it has waited for."""
    fields = _fields(pid)
    return int(fields[7]), int(fields[8])


def memory_kib(pid: int) -> int:
    """The PSS of the process tree: private memory, and a proportional share of shared memory."""
    return sum(_pss(each) for each in tree(pid))


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except PermissionError:
        sys.exit("bench: the memory of a daemon is closed to its own user: measure it as root")
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
