"""Forks children, several at one time.

The law: between one fork and the next nothing is done that need not be. After a fork every page that the parent writes
to is copied, whether it forked one child or four.
"""

from __future__ import annotations

from functools import partial
from os import _exit, fork

from upperd.server.child import Child
from upperd.server.children import Living
from upperd.server.layout import BUSY, WAITING
from upperd.server.signals import Signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from upperd.server.child import Server
    from upperd.server.children import Children
    from upperd.server.inheritance import Inheritance
    from upperd.server.link import Link
    from upperd.server.scoreboard import Scoreboard
    from upperd.server.slot import Slot


class Forker:
    """Makes the children of one parent."""

    def __init__(
        self,
        board: Scoreboard,
        link: Link,
        inheritance: Inheritance,
        children: Children,
        servers: list[Server],
        set_title: Callable[[str], object] | None,
    ) -> None:
        self._board = board
        self._link = link
        self._inheritance = inheritance
        self._children = children
        self._servers = servers
        self._set_title = set_title
        self._cast: list[Child] = []
        """The child of each server that is forked for it."""
        self.signals = Signals()

    def settle(self) -> None:
        """Make what each child is forked from: before the first fork, once all else has its place."""
        self._cast = [Child(server, self._link, self._set_title) for server in self._servers]
        for server in self._servers:
            self._inheritance.not_for(server, None)

    def fork(
        self, server: Server, count: int, passed: tuple[socket.socket, object] | None = None
    ) -> tuple[list[Living], OSError | None]:
        """Fork `count` children for `server`, or fewer, and then say why. The first is for what is `passed`.

        Each has a slot, which says where it waits. A child returns from here no more.
        """
        if len(self._cast) < len(self._servers):
            self.settle()
        board, link, signals = self._board, self._link, self.signals
        child, close = self._cast[server.listener], self._inheritance.not_for(server, passed)
        state = BUSY if passed is not None else WAITING + server.listener
        live = partial(child.live)  # a method's first call is looked at (PEP 659): here, each time, by every child
        rows: list[tuple[int, Slot]] = []
        pids: list[int] = []
        while len(rows) < count:  # no comprehension: it is a function made anew each time
            rows.append(board.claim(server.listener, state))
            state = WAITING + server.listener
        failure = None
        with signals:
            founded = link.renew_group(has_members=bool(self._children))
            for _, slot in rows:
                try:
                    pid = fork()
                except OSError as error:
                    failure = error
                    break
                if pid == 0:
                    _exit(live(slot, signals, close, passed))
                pids.append(pid)
                if passed is not None and count > 1:  # that is for the first one alone
                    connection = passed[0].fileno()
                    passed, close = None, [*self._inheritance.not_for(server, None), (connection, connection + 1)]
                if not founded:
                    founded = link.own_signals(pid)
        children: list[Living] = []
        for index, _ in rows:
            if len(children) == len(pids):
                board.release(index)
                continue
            pid = pids[len(children)]
            link.adopt(pid)
            board.born(index, pid)
            children.append(Living(pid, index, server))
        return children, failure
