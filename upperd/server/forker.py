"""Forks children.

population.py decides how many, dispatcher.py for which users. Between two forks of one call nothing happens that can
wait, because the parent copies each page that it writes after a fork.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
from time import monotonic

from upperd.server import handover, registry
from upperd.server.child import EX_SOFTWARE, Life
from upperd.server.roster import Child
from upperd.server.row import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from upperd.server.handover import Order
    from upperd.server.mixin import PreforkingMixIn
    from upperd.server.scoreboard import Scoreboard
    from upperd.server.signals import Blocked

    Newborn = list[tuple[Child, Life]]
    """Children that are being forked: the parent's object and the child's own."""


READY_SECONDS = 60.0
"""How long the handler's `start_child` may take."""


class Forker:
    def __init__(
        self, board: Scoreboard, servers: Sequence[PreforkingMixIn], set_title: Callable[[int | None], object] | None
    ) -> None:
        self._board = board
        self._servers = servers
        self._set_title = set_title
        self._is_frozen = False
        self.counters: tuple[str, ...] = ()
        self._handlers: dict[int, list[Any]] = {}
        """By pool: handlers with `start_child` or `end_child`."""
        self.closes_everything = False
        """Whether a child keeps only its standard streams; else all descriptors that belong to no server."""
        self.descriptors_of_a_child = 0
        """A child's limit of descriptors (RLIMIT_NOFILE); 0: the parent's."""

    def add(self, server: PreforkingMixIn) -> None:
        """Note the counters and hooks of a server's handler."""
        self.counters = tuple(dict.fromkeys((*self.counters, *server.counters)))
        handler, handlers = server.RequestHandlerClass, self._handlers.setdefault(server.pool, [])
        if handler not in handlers and (hasattr(handler, "start_child") or hasattr(handler, "end_child")):
            handlers.append(handler)

    def fork(
        self, pool: int, count: int, signals: Blocked, first: Order | None = None
    ) -> tuple[list[Child], OSError | None]:
        """Fork `count` children for the servers of `pool`. Returns them, and the error if there are fewer.

        With `first` it forks one child, which serves that. The caller holds `registry.lock` and has blocked `signals`.
        A child does not return from here.
        """
        if not self._is_frozen:
            # Present objects live on: the collector must not write to their pages, in the parent or in a child.
            gc.freeze()
            self._is_frozen = True
        board = self._board
        servers = [server for server in self._servers if server.pool == pool]
        takes_datagrams = servers[0].is_datagram
        handlers = self._handlers[pool]
        kept = [0, 1, 2, *(number for server in servers for number in server.kept_by_children())]
        if first is not None and hasattr(first.connection, "fileno"):
            kept.append(first.connection.fileno())
        newborn: Newborn = []
        failure: OSError | None = None
        try:
            for _ in range(count):
                ours, theirs = handover.channel(handover.LARGEST if takes_datagrams else 0)
                child = Child(0, *board.claim(), ours, pool)
                row = Row(child.row, self.counters)
                life = Life(
                    self._servers, theirs, row, self._set_title, handlers=handlers, takes_datagrams=takes_datagrams
                )
                newborn.append((child, life))
        except OSError as error:  # not enough descriptors for all of them
            failure = error
        ends = [end.fileno() for child, life in newborn for end in (child.control, life.control)]
        closed = [
            registry.ranges_to_close([*kept, life.control.fileno()], everything=self.closes_everything, besides=ends)
            for _, life in newborn
        ]
        for (child, life), ranges in zip(newborn, closed, strict=True):
            board.show(child.slot)
            if "subprocess" in sys.modules:  # else looking costs the parent 12 page faults for nothing
                its_own = {*kept, life.control.fileno()}
                ranges += [(pipe, pipe + 1) for pipe in registry.popen_pipes() if pipe >= 0 and pipe not in its_own]
            try:
                child.pid = os.fork()
            except OSError as error:
                board.hide(child.slot)
                failure = error
                break
            if child.pid == 0:
                _be_child(life, ranges, signals, self.descriptors_of_a_child, first)
            board.hide(child.slot)
        for child, life in newborn:
            life.control.close()
            if child.pid:
                board.born(child.slot, child.pid)
                child.ready_by = monotonic() + READY_SECONDS if handlers else 0.0
            else:
                board.release(child.slot)
                child.control.close()
        return [child for child, _ in newborn if child.pid], failure


def _be_child(life: Life, ranges: list[tuple[int, int]], signals: Blocked, most: int, first: Order | None) -> None:
    status = EX_SOFTWARE
    try:
        gc.freeze()  # else the collector could close one of the parent's sockets, whose number is in use again
        registry.become_child(ranges)
        if most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        signals.become_child(life.end_connection)
        status = life.run(signals, first)
    except BaseException as error:  # the system refuses what makes a child of us: its record says what
        life.failed(error)
    finally:
        os._exit(status)
