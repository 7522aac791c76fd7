"""What the processes call themselves in ps(1) and `systemctl status`: by setproctitle, where it is installed.

Its C part alone: the package around it imports logging, for which every fork would pay.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from upperd.server.layout import UNKNOWN

MAIN = "upperd: main process"
SPARE = "upperd: waits for a connection"


def load(folder: str) -> Callable[[int | None], object] | None:
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
    setproctitle(MAIN)
    set_name()  # which it has changed, too
    return lambda uid: setproctitle(of_child(uid))


def of_child(uid: int | None) -> str:
    """The title of a child that serves this user; UNKNOWN: one that the kernel does not name; None: none yet."""
    if uid is None:
        return SPARE
    return "upperd: serves an unknown user" if uid == UNKNOWN else f"upperd: serves uid {uid}"


def set_name() -> None:
    """Be `upperd` in ps(1) and pgrep(1), not `python3` (proc(5), comm)."""
    try:
        with open("/proc/self/comm", "w") as comm:
            comm.write("upperd")
    except OSError:
        pass  # a name is not worth failing for
