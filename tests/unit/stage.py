"""Shared by the tests of the parent's parts: simulated server, children and connections."""

from __future__ import annotations

import errno
import os
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from upperd.server.connection import Connection
from upperd.server.dispatcher import Dispatcher, WaitingQueue
from upperd.server.layout import CONNECTIONS, FINISHED, UNKNOWN
from upperd.server.limits import Limits
from upperd.server.loop import Loop
from upperd.server.roster import Child, Roster
from upperd.server.scoreboard import Scoreboard

ALICE, BOB, CAROL = 61001, 61002, 61003
NO_PROCESS = 2**31 - 1
"""A pid that no process has."""


class Server:
    """A server whose requests are files, and which notes what becomes of them."""

    listener = 0
    is_datagram = False
    connections_per_child = 1000
    server_address: object = "/s"

    def __init__(self, pool: int = 0) -> None:
        self.pool = pool
        self.closed: list[object] = []
        self.shut: list[object] = []
        self.shutdown_request = self.shut.append
        self.close_request = self.closed.append

    def user_of(self, uid: int) -> int:
        """As the hook: every uid counts for itself."""
        return uid

    def descriptor_of(self, request: Any) -> int:
        """As the hook: a request is a descriptor, or a message that is too large for a channel."""
        if not isinstance(request, int):
            raise OSError(errno.EMSGSIZE, "as told")
        return request

    def as_message(self, request: Any) -> None:
        """As the hook: no request is a datagram."""


def connection(server: Any, uid: int, request: Any = 0, *, is_reusable: bool = True) -> Connection:
    """A connection of this user; by default standard input is handed over."""
    return Connection(server, request, f"client of {uid}", (uid, uid, 1), is_reusable=is_reusable)


class MadeUpChild(Child):
    """A child without a process: the test acts in its place."""

    __slots__ = ("theirs",)

    def __init__(self, board: Scoreboard, pool: int = 0) -> None:
        ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        super().__init__(NO_PROCESS, *board.claim(), ours, pool)

    def starts(self) -> None:
        """Begin to serve the connection that was handed over last."""
        self.row[CONNECTIONS] = self.handed

    def finishes(self) -> None:
        """Finish that connection."""
        self.starts()
        self.row[FINISHED] = self.handed
        self.told = self.handed  # as a child has to tell of a datagram

    def close(self) -> None:
        """Close its channel."""
        self.control.close()
        self.theirs.close()


class Population:
    """Stands for the parent's population: forks simulated children, and notes which ones are let go."""

    def __init__(self, board: Scoreboard, roster: Roster, most: int) -> None:
        self._board, self._roster = board, roster
        self.share = 0
        self.is_paused = False
        self._most = most
        self.living: list[MadeUpChild] = []
        self.let: list[Child] = []
        self.forked_for: list[object] = []
        self.given_up: list[int] = []
        self.pauses: list[str] = []
        self.pause = self.pauses.append
        self.observer = SimpleNamespace(given_up=self.given_up.append)
        self.ended = lambda child: None

    @property
    def room(self) -> int:
        """As the parent's."""
        return self._most - len(self.living)

    def fork(self, pool: int, count: int, first: Any = None) -> list[MadeUpChild]:
        """Fork children, as many as there is room for."""
        children = [MadeUpChild(self._board, pool) for _ in range(min(count, max(self.room, 0)))]
        self.living += children
        if first is not None:
            self.forked_for.append(first.connection)
        else:
            self._roster.spares(pool).extend(children)
        return children

    def let_go(self, child: Child) -> None:
        """Mark a child that is told to leave."""
        child.is_leaving = True
        self.let.append(child)

    def ends(self, child: Any) -> None:
        """Remove a child that was reaped."""
        self.living.remove(child)
        self.ended(child)  # type: ignore[no-untyped-call]
        self._board.release(child.slot)
        child.close()

    def close(self) -> None:
        """Close every channel."""
        for child in self.living:
            child.close()


class Stage:
    """A dispatcher with room for this many children."""

    def __init__(self, most: int = 4, per_user: int = 4, max_queue: int = 100) -> None:
        self.board = Scoreboard(slots=100)
        self.loop = Loop()
        self.loop.turn(0)
        self.limits = Limits(most, 0, per_user, max_queue)
        self.queue = WaitingQueue(self.board, self.limits)
        self.roster = Roster()
        self.population: Any = Population(self.board, self.roster, most)
        self.observer = self.population.observer
        parent: Any = self
        self.dispatcher = Dispatcher(parent)
        self.population.ended = self.dispatcher.ended
        self.server: Any = Server()

    def comes(self, uid: int, **options: Any) -> Connection:
        """Let a connection of this user arrive."""
        new = connection(self.server, uid, **options)
        assert self.dispatcher.serve(new)
        return new

    def holder(self, one: Connection) -> MadeUpChild | None:
        """The child that has this connection; None if it waits."""
        holders = [child for child in self.roster.serving() if child.connection is one]
        assert len(holders) + list(self.queue).count(one) == 1
        return holders[0] if holders else None  # type: ignore[return-value]

    def ends(self, child: Any) -> None:
        """Let a child be reaped, and the parent's turn go on."""
        self.population.ends(child)
        self.dispatcher.serve_queue()


def with_room(**options: int) -> pytest.MarkDecorator:
    """Set the stage of a test."""
    return pytest.mark.parametrize("stage", [options], indirect=True, ids=["room"])


def open_descriptors() -> set[int]:
    """The open descriptors of this process."""
    return {int(name) for name in os.listdir("/proc/self/fd")}


def nobody() -> tuple[int, int, int]:
    """A peer that is not known."""
    return UNKNOWN, UNKNOWN, UNKNOWN
