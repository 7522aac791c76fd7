"""What the processes call themselves in ps(1) and `systemctl status`: by writing over their command line (proc(5)).

The area of the arguments is where the kernel has put it, in each child at the same place. Written by a function of C,
which takes no descriptor and no privilege, unlike PR_SET_MM_ARG_START; a child has one page more to copy.
"""

from __future__ import annotations

from collections.abc import Callable

from upperd.base.paths import NAME, program_of
from upperd.server.layout import UNKNOWN

MAIN = "main process"
SPARE = "waits for a connection"
_LONGEST = 64
"""Bytes of a child's title: it copies no more pages than these are on."""


def load(name: str = NAME) -> Callable[[int | None], object] | None:
    """Name this process, and return what names a child; None: where the arguments lie is not known."""
    try:
        import _ctypes  # the part that is written in C (privacy.py)

        with open("/proc/self/stat", "rb") as file:
            start, end = (int(word) for word in file.read().rpartition(b")")[2].split()[45:47])
    except (ImportError, OSError, ValueError):
        return None
    if end - start < 2 * _LONGEST:
        return None

    class Pointer(_ctypes._SimpleCData):  # type: ignore[misc, name-defined, type-arg, unused-ignore]
        _type_ = "P"

    area = Pointer(start)
    copy = _ctypes.dlsym(_ctypes.dlopen(None, 0), "strncpy")  # type: ignore[arg-type]  # it fills up with zeros

    def write(title: str, size: int) -> None:
        _ctypes.call_cdeclfunction(copy, (area, f"{name}: {title}".encode("utf-8", "replace")[: _LONGEST - 1], size))

    write(MAIN, end - start)
    return lambda uid: write(of_child(uid), _LONGEST)


def of_child(uid: int | None) -> str:
    """The title of a child that serves this user; UNKNOWN: one that the kernel does not name; None: none yet."""
    if uid is None:
        return SPARE
    return "serves an unknown user" if uid == UNKNOWN else f"serves uid {uid}"


def set_name(name: str = NAME) -> None:
    """Be `upperd`, or the program around a handler, in ps(1) and pgrep(1), not `python3` (proc(5), comm)."""
    try:
        with open("/proc/self/comm", "w") as comm:
            comm.write(program_of(name))
    except OSError:
        pass  # a name is not worth failing for
