"""What the parent does once, before the first fork, so that no child has to pay for it.

A child's life is rehearsed (rehearsal.py), what it writes to is packed into few pages (packing.py), and the garbage
collector, which would write to every object, is switched off.
"""

from __future__ import annotations

import gc
import socket
from itertools import chain
from signal import ITIMER_REAL, setitimer

from upperd.server import scoreboard
from upperd.server.child import Child
from upperd.server.children import Children, Living
from upperd.server.forker import Forker
from upperd.server.inheritance import Inheritance
from upperd.server.limits import Allowance
from upperd.server.link import Link
from upperd.server.lookout import Lookout
from upperd.server.mixin import TCPServer, UnixServer, UpperServer
from upperd.server.observer import End
from upperd.server.parent import Parent
from upperd.server.signals import SharedSignals, Signals
from upperd.server.slot import Slot
from upperd.server.throttle import Throttle
from upperd.service import packing
from upperd.service.guard import Guard
from upperd.service.idle import Idle
from upperd.service.log import Log
from upperd.service.overdue import Overdue
from upperd.service.rates import Rates
from upperd.service.rehearsal import rehearse
from upperd.service.reporter import Reporter
from upperd.upper.handler import UpperHandler
from upperd.upper.transform import UpperCaser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from upperd.service.policy import Policy

_OF_CHILDREN = (
    *(Child, SharedSignals, Link, scoreboard.Scoreboard, Slot, UpperCaser, Guard, Allowance),
    *dict.fromkeys((*UnixServer.__mro__[:-1], *TCPServer.__mro__[:-1], *UpperHandler.__mro__[:-1])),
)
_OF_PARENT = (
    *(Parent, Forker, Children, Living, Inheritance, Link, scoreboard.Scoreboard, Slot, Throttle),
    *(Lookout, Reporter, End, SharedSignals, Log, Rates, Overdue, Guard, Idle),
)
_BETWEEN_FORKS = (
    *(Parent.top_up, Parent.turn, Parent._seconds_to_wait, Parent._set_poke_below, Parent._room, Parent._fork),
    *(Parent._keep, Parent._look_after, Parent._reap, Parent._learn_from, Inheritance.not_for, Living.__init__),
    *(Children.__len__, Children.add, Children.look_after, Children.reap),
    *(Link.poked, Link.renew_group, Link.adopt),
    *(scoreboard.Scoreboard.waiting, scoreboard.Scoreboard.busy, scoreboard.Scoreboard.words),
    *(scoreboard.Scoreboard.claim, scoreboard.Scoreboard.born, scoreboard.Scoreboard.release),
    *(scoreboard.Scoreboard.add, scoreboard.Scoreboard.__getitem__, Slot.__init__, End.__init__),
    *(SharedSignals.__enter__, SharedSignals.__exit__, Throttle.succeeded, Reporter.turn, Reporter.child_ended),
    *(Rates.turn, Rates.child_ended, Rates._count_living, Rates._count, Rates._spend, Overdue.turn),
    *(Guard.let_in, Guard._count, Guard.stand, scoreboard.Scoreboard.connections),
    *(Idle.turn, Reporter._report_status, Reporter._send_status, Log.is_on, Lookout.turn),
)
"""What the parent runs between one fork and the next: a page that it writes to is copied, too."""


def warm_up(
    make_server: Callable[[socket.socket, Policy], UpperServer],
    follow: Callable[[Policy], object],
    signals: SharedSignals,
    set_title: Callable[[str], object] | None,
    others: dict[socket.SocketKind, tuple[type, ...]],
) -> None:
    """Prepare this process for its forks. Raises OSError where it can rehearse nothing; that does no harm.

    `others`: types of listeners that there are beside streams, and the classes whose functions serve those.
    """
    gc.disable()

    kinds = (*others, socket.SOCK_STREAM)
    run = packing.Run()
    with Signals():  # what comes while we play the child is for the parent, afterwards
        try:
            if packing.is_possible():
                for kind in kinds:
                    rehearse(make_server, follow, signals, set_title, 1, run.watch, kind)
                run.add(Forker.fork.__code__)  # the rest of which is a child's life
                between = packing.Run()
                for function in _BETWEEN_FORKS:
                    between.add(function.__code__)
                packing.pack(dict.fromkeys((*_OF_CHILDREN, *chain(*others.values()), *_OF_PARENT)), run, between)
            for kind in kinds:
                rehearse(make_server, follow, signals, set_title, kind=kind)
        finally:
            setitimer(ITIMER_REAL, 0)  # which a connection with limits has set
            signals.forget_child()
