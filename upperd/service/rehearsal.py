"""Warming up: a child's whole life, lived a few times in the parent before the first fork.

What a child does for the first time makes pages of its own: Python specialises the code that runs (PEP 659), fills the
caches of attribute look-ups, allocates. Done here once, it is shared by every child to come: some seventy page faults
less for each. It serves an autobound abstract socket (unix(7)), which no client can know of.
"""

from __future__ import annotations

import os
import socket
from functools import partial

from upperd.server import layout, scoreboard
from upperd.server.child import Child
from upperd.server.link import Link
from upperd.service.policy import Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from upperd.server.child import Server
    from upperd.server.signals import SharedSignals

HIGHEST = 2**32 - 2
"""A uid that nobody has."""
ROUNDS = 10
"""PEP 659 specialises after some eight calls; 20 or 40 changed nothing."""


def rehearse(
    make_server: Callable[[socket.socket, Policy], Server],
    follow: Callable[[Policy], object],
    signals: SharedSignals,
    set_title: Callable[[str], object] | None = None,
    rounds: int = ROUNDS,
    watch: Callable[[Callable[[], object]], object] = lambda live: live(),
    kind: socket.SocketKind = socket.SOCK_STREAM,
) -> None:
    """Serve `rounds` short connections in this process by a policy that `follow` has set. Raises OSError: no socket.

    `watch` is given each life to live.
    """
    board = scoreboard.Scoreboard(slots=1)
    policy = Policy(board)
    follow(policy)
    if policy.guard.has_rules:
        # Rules of another kind, by which we are let in: who is refused would have us wait for the next one for ever.
        policy.guard.set_rules([HIGHEST], [], [os.getegid(), os.getgid()])
    board["poke_below"] = 2
    link = Link(is_rehearsal=True)
    with socket.socket(socket.AF_UNIX, kind) as listener:
        listener.bind("")
        if kind == socket.SOCK_STREAM:
            listener.listen(1)
        # As the true ones, to the order of its attributes: what is specialised is specialised for that.
        server = make_server(listener, policy)
        server.connections_per_child = 1  # or it would wait for a second one
        nothing = (listener.fileno(), listener.fileno())
        for _ in range(rounds):
            with socket.socket(socket.AF_UNIX, kind) as client:
                if kind != socket.SOCK_STREAM:
                    client.bind("")  # that there is somebody to answer
                client.connect(listener.getsockname())
                client.sendall(b"rehearsal\n")
                client.shutdown(socket.SHUT_WR)
                index, slot = board.claim(0, layout.WAITING)
                child = Child(server, link, set_title)
                watch(partial(child.live, slot, signals, [nothing, nothing], None))
                child.handling = ()  # by which it holds itself, and with it all of this: no collector looks for that
                board.release(index)
    link.close()
