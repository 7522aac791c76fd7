"""Closes the memory of the parent and its children to each other, although all of them run as one user.

Otherwise a child could read another user's text, or change its parent, through /proc/PID/mem (proc(5)) or
process_vm_readv(2). Only root can access the memory of a process that is not dumpable, and it leaves no core dump. A
forked child inherits this, but an exec ends it: so the parent trusts no process that it starts by exec (recheck.py).
"""

from __future__ import annotations

_PR_SET_DUMPABLE = 4
"""From linux/prctl.h."""


def close_memory() -> str:
    """Make this process, and those that it forks, not dumpable (prctl(2)). Returns why that failed, or empty.

    From then on most of /proc/self belongs to root, so anything to write there must be written before.
    """
    try:
        # Only the C part of ctypes: the rest would cost each child ten more page faults, and 35 KiB.
        import _ctypes
    except ImportError as error:
        return str(error)
    program = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # typeshed does not know None (dlopen(3))
    prctl = _ctypes.dlsym(program, "prctl")
    return "" if _ctypes.call_cdeclfunction(prctl, (_PR_SET_DUMPABLE, 0)) == 0 else "prctl(2) is refused"
