"""Sets the titles of the processes in ps(1) and `systemctl status`, by overwriting their command line (proc(5)).

The arguments stay where the kernel has put them, at the same address in each child. Writing there needs no descriptor
and no privilege, unlike PR_SET_MM_ARG_START. It costs each child one more page to copy.
"""

from __future__ import annotations

from collections.abc import Callable

from upperd.base.paths import NAME, program_of
from upperd.server.layout import UNKNOWN

MAIN = "main process"
SPARE = "waits for a connection"
_LONGEST = 64
"""Bytes of a child's title at most: the child copies only the pages that they are on."""


def load(name: str = NAME) -> Callable[[int | None], object] | None:
    """Set this process's title; return a function that sets a child's, by `of_child`. None: titles cannot be set."""
    try:
        import _ctypes  # only the C part of ctypes (privacy.py)

        with open("/proc/self/stat", "rb") as file:
            start, end = (int(word) for word in file.read().rpartition(b")")[2].split()[45:47])
    except (ImportError, OSError, ValueError):
        return None
    if end - start < 2 * _LONGEST:
        return None

    class Char(_ctypes._SimpleCData):  # type: ignore[misc, name-defined, type-arg, unused-ignore]
        _type_ = "c"

    area = memoryview((Char * (end - start)).from_address(start)).cast("B")
    area[:] = bytes(end - start)

    def write(title: str) -> None:
        area[:_LONGEST] = f"{name}: {title}".encode("utf-8", "replace")[: _LONGEST - 1].ljust(_LONGEST, b"\0")

    write(MAIN)
    return lambda uid: write(of_child(uid))


def of_child(uid: int | None) -> str:
    """The title of a child that serves this uid; UNKNOWN: the kernel does not tell which; None: the child is spare."""
    if uid is None:
        return SPARE
    return "serves an unknown user" if uid == UNKNOWN else f"serves uid {uid}"


def set_name(name: str = NAME) -> None:
    """Appear as `upperd`, or the handler's program, in ps(1) and pgrep(1), not as `python3` (proc(5), comm)."""
    try:
        with open("/proc/self/comm", "w") as comm:
            comm.write(program_of(name))
    except OSError:
        pass  # a name is not worth failing for
