"""What the processes call themselves in ps(1) and `systemctl status`: by setproctitle, where it is installed.

Its C part alone: the package around it imports logging, which every fork would pay for.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAIN = "upperd: main process"
SPARE = "upperd: waits for a connection"


def load(folder: str) -> Callable[[str], object] | None:
    """The function that sets our title, from the package in `folder`; None where there is none."""
    if not folder:
        return None
    sys.path.append(folder)
    try:
        from _setproctitle import setproctitle
    except ImportError:
        return None
    finally:
        sys.path.remove(folder)
    set_title: Callable[[str], object] = setproctitle
    return set_title


def serving(uid: int, unknown: int) -> str:
    """The title of a child that serves a user."""
    return "upperd: serves an unknown user" if uid == unknown else f"upperd: serves uid {uid}"
