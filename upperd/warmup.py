"""What the parent does once, before the first fork, so that no child has to pay for it.

A child's life is rehearsed (rehearsal.py), what it writes to is packed into few pages (packing.py), and the garbage
collector, which would write to every object, is kept away from what there is.
"""

from __future__ import annotations

import gc
import socket

from upperd import packing, scoreboard
from upperd.child import Child, SharedSignals
from upperd.children import Children, Living
from upperd.handler import UpperHandler
from upperd.link import Link
from upperd.observer import End
from upperd.parent import Parent
from upperd.rehearsal import ROUNDS, rehearse
from upperd.reporter import Reporter
from upperd.server import TCPServer, UnixServer
from upperd.throttle import Throttle
from upperd.transform import UpperCaser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_OF_CHILDREN = (
    *(Child, SharedSignals, Link, scoreboard.Scoreboard, scoreboard.Slot, UpperCaser),
    *dict.fromkeys((*UnixServer.__mro__[:-1], *TCPServer.__mro__[:-1], *UpperHandler.__mro__[:-1])),
)
_OF_PARENT = (Parent, Children, Living, Link, scoreboard.Scoreboard, Throttle, Reporter, End)


def warm_up(
    make_server: Callable[[socket.socket], UnixServer | TCPServer],
    signals: SharedSignals,
    set_title: Callable[[str], object] | None,
) -> None:
    """Prepare this process for its forks. Raises OSError where it can rehearse nothing; that does no harm."""
    gc.collect()
    gc.disable()

    def live(rounds: int) -> None:
        rehearse(make_server, signals, set_title, rounds)

    if packing.is_possible():
        in_child = packing.codes_run_by(lambda: live(1))
        packing.pack(dict.fromkeys((*_OF_CHILDREN, *_OF_PARENT)), in_child, packing.codes_of(_OF_PARENT))
    live(ROUNDS)
