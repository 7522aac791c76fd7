"""The parent of the children of one server or several: it accepts, hands over, reaps, and drains.

    accepting.py ──> mixin.py (the hooks) ──> dispatcher.py ──> handover.py ══> child.py
                                               │
                                               ├── roster.py      whose the children are
    loop.py  epoll and timers                  └── population.py  forker.py, exits.py
    patrol.py ── limits.py                         which connections have to end

This file wires the parts together. The parent is one thread. It never reads from a client, and blocks only in
epoll_wait().
"""

from __future__ import annotations

import math
import select
from time import monotonic

from upperd.server import registry
from upperd.server.accepting import Accepter
from upperd.server.connection import Connection
from upperd.server.dispatcher import Dispatcher, WaitingQueue
from upperd.server.exits import Observer
from upperd.server.forker import Forker
from upperd.server.limits import Limits, seven_eighths
from upperd.server.loop import Loop
from upperd.server.patrol import Patrol
from upperd.server.population import Population
from upperd.server.roster import Roster
from upperd.server.scoreboard import Scoreboard

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from typing import Any

    from upperd.server.mixin import PreforkingMixIn
    from upperd.server.peer import Peer

MAX_QUEUE = 2048
"""The default of `max_queue`."""
REST_SECONDS = 1.0
"""How long a server that is shut down waits for its idle children to exit."""


class Parent:
    def __init__(
        self,
        board: Scoreboard | None = None,
        limits: Limits | None = None,
        observer: Observer | None = None,
        set_title: Callable[[int | None], object] | None = None,
    ) -> None:
        limits = limits or Limits(64, 8, seven_eighths(64), MAX_QUEUE)
        self.limits = limits
        self.observer = observer or Observer()
        self.board = board or Scoreboard(slots=limits.max_children)
        self.servers: list[PreforkingMixIn] = []
        self.loop = Loop()
        self.queue = WaitingQueue(self.board, limits)
        self.roster = Roster()
        self.forker = Forker(self.board, self.servers, set_title)
        # These find the other parts through the parent.
        self.population = Population(self)
        self.dispatcher = Dispatcher(self)
        self.accepter = Accepter(self)
        self.patrol = Patrol(self)
        self._stop = False
        registry.owners.add(self)

    # For the owner

    def add(self, server: PreforkingMixIn) -> None:
        """Serve this server's listener, too, and number it in `server.listener`."""
        server.listener = len(self.servers)
        server.pool = server.listener + 1 if server.is_datagram else 0
        self.servers.append(server)
        if server.pool not in self.population.pools:
            self.population.pools.append(server.pool)
        self.forker.add(server)

    def stop(self) -> None:
        """Make `run` return after this turn. Safe in other threads and in signal handlers."""
        self._stop = True
        self.loop.wake()

    def run(self) -> None:
        self.begin()
        while not self._stop:
            self.turn()
        self._stop = False
        self.accepter.stop()

    def begin(self) -> None:
        """Begin to accept connections and to fork spare children."""
        self.patrol.deadline = None
        self.accepter.is_on = self.population.is_forking = True
        self.accepter.adjust()
        self.population.top_up()

    def rest(self) -> None:
        """Stop accepting, and end every idle child; busy ones go on."""
        self.accepter.stop()
        self.population.is_forking = False
        known = {*self.roster.waiting(), *self.roster.serving()}
        for child in self.population:
            if child not in known and not child.is_leaving:  # an exception of a signal handler came between two steps
                self.population.let_go(child)
        end = monotonic() + REST_SECONDS
        while not self.queue and monotonic() < end:
            self.population.dismiss()
            if len(self.population) <= self.roster.busy:
                break
            self.turn(end - monotonic())

    @property
    def has_leisure(self) -> bool:
        """Whether no waiting connection needs the place or the descriptor that a spare child would take."""
        return not self.queue and not self.accepter.has_failed

    def turn(self, timeout: float | None = None) -> None:
        """Wait for events, at most `timeout` seconds, and act on them."""
        self.loop.turn(timeout)
        if self.queue:
            self.dispatcher.serve_queue()
        if self.population.is_short(self.population.share // 2) and self.has_leisure:
            is_calm = not self.loop.turn(0)
            self.population.top_up(low=self.population.share // (2 if is_calm else 8))
        self.accepter.adjust()

    def serve(self, server: PreforkingMixIn, request: Any, address: Any, peer: Peer) -> bool:
        """Have a child serve a connection, now or in its turn. False: its user's queue is full."""
        self.loop.stir()
        can_hand_over = server.can_hand_over(request)
        is_reusable = can_hand_over and (server.is_known(peer[0]) or self.limits.reuses_unknown)
        connection = Connection(server, request, address, peer, is_reusable=is_reusable)
        connection.needs_fork = not can_hand_over
        return self.dispatcher.serve(connection)

    # The end

    def serve_backlog(self, end: float, listening: list[socket.socket], more: Callable[[], bool] = bool) -> None:
        """Serve until the backlogs of these sockets are empty and `more` returns False; closing one resets its backlog.

        It stops at `end` (`time.monotonic`) or at `hasten`. Quiet connections are ended to make room.
        """
        queued = select.poll()
        for sock in listening:
            queued.register(sock, select.POLLIN)
        self.patrol.begin_drain(math.inf)
        self.accepter.is_on = True
        self.loop.call_timers()
        # What `more` expected may have come by the time that it says no.
        while (queued.poll(0) or more() or queued.poll(0)) and monotonic() < end and not self._stop:
            self.turn(0.05)
        self.accepter.stop()
        self._stop = False

    def withdraw(self) -> bool:
        """Stop accepting. Returns whether no child serves and no connection waits."""
        self.accepter.stop()
        self.roster.look_at_all()
        return not self.roster.busy and not self.queue

    def begin_drain(self, timeout: float) -> None:
        """Begin to end connections, after `timeout` seconds by force."""
        self.accepter.stop()
        self.population.is_forking = False
        self.patrol.begin_drain(monotonic() + timeout)
        self.loop.call_timers()

    def drain(self, timeout: float) -> None:
        """Serve the waiting connections and end every child, after `timeout` seconds by force."""
        self.begin_drain(timeout)
        while len(self.population) or self.queue:
            if not self.queue:
                self.population.dismiss()
            self.turn()

    def hasten(self) -> None:
        """A drain under way reaches its deadline now."""
        self.patrol.hasten(monotonic())
        self.stop()

    def close(self) -> None:
        """Forget the children; each exits when it is idle."""
        self.accepter.stop()
        self.population.close()
        for connection in self._held:
            connection.close()
        with registry.lock:
            registry.owners.discard(self)
            self.loop.close()

    def pids(self) -> set[int]:
        """The pids of children that are not reaped."""
        return {child.pid for child in self.population}

    def descriptors(self) -> list[int]:
        """The descriptors that no child may keep (registry.py)."""
        own = [*self.loop.descriptors(), *(child.control.fileno() for child in self.population)]
        return own + [connection.server.descriptor_of(connection.request) for connection in self._held]

    @property
    def _held(self) -> list[Connection]:
        served = [child.connection for child in self.roster.serving()]  # each read once: another thread may ask
        return [*self.queue, *(connection for connection in served if connection is not None)]
