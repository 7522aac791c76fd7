"""The memory of the parent and of its children, closed to each other although all of them run as one user.

Without this a child could read another user's text, or change its parent, through /proc/PID/mem (proc(5)) or
process_vm_readv(2). A process that is not dumpable can be looked into by root alone; nor is a core of it written. A
child inherits that, an exec ends it: so nothing that the parent trusts is started by one (recheck.py).
"""

from __future__ import annotations

_PR_SET_DUMPABLE = 4
"""Of linux/prctl.h."""


def close_memory() -> str:
    """Make this process, and what it forks, not dumpable (prctl(2)). Returns why it cannot be; empty: it is.

    From now on most of /proc/self belongs to root: what is written there comes before.
    """
    try:
        # The part of ctypes that is written in C: the rest would cost each child ten more page faults, and 35 KiB.
        import _ctypes
    except ImportError as error:
        return str(error)
    program = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # typeshed does not know of it (dlopen(3))
    prctl = _ctypes.dlsym(program, "prctl")
    return "" if _ctypes.call_cdeclfunction(prctl, (_PR_SET_DUMPABLE, 0)) == 0 else "prctl(2) is refused"
