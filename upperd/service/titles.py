"""What the processes call themselves in ps(1) and `systemctl status`: by setproctitle, where it is installed.

Its C part alone: the package around it imports logging, for which every fork would pay.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from upperd.base.paths import NAME, program_of
from upperd.server.layout import UNKNOWN

MAIN = "main process"
SPARE = "waits for a connection"


def load(folder: str, name: str = NAME) -> Callable[[int | None], object] | None:
    """Name this process, and return what names a child; `folder` is that of the package, without which it is None."""
    if not folder:
        return None
    sys.path.append(folder)
    try:
        from _setproctitle import setproctitle
    except ImportError:
        return None
    finally:
        sys.path.remove(folder)
    setproctitle(f"{name}: {MAIN}")
    set_name(name)  # which it has changed, too
    return lambda uid: setproctitle(f"{name}: {of_child(uid)}")


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
