"""Children that count as waiting and take nothing: those that are stopped (SIGSTOP, a terminal, a debugger), and those
that are none, where somebody has written over the scoreboard.

The law: it costs nothing at rest and nothing for a connection. A client that comes is the moment to look: so every
listener is in the parent's epoll, for one event (EPOLLONESHOT), and LOOK_SECONDS after that for the next one.
"""

from __future__ import annotations

from os import P_PID, WNOHANG, WSTOPPED, waitid
from select import EPOLLIN, EPOLLONESHOT

from upperd.server.children import send
from upperd.server.signals import RETIRE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from select import epoll

    from upperd.server.children import Children
    from upperd.server.observer import Observer
    from upperd.server.scoreboard import Scoreboard

LOOK_SECONDS = 1.0
"""Between one look and the next, while clients come."""


class Lookout:
    """When to look, and whom one finds."""

    def __init__(self, epoll: epoll, children: Children, board: Scoreboard) -> None:
        self._epoll = epoll
        self._children = children
        self._board = board
        self._next: float | None = None
        self.listeners: set[int] = set()
        """The descriptors whose event says: look."""

    def add(self, listener: int) -> None:
        """Look when a client comes to this listener, too."""
        self._epoll.register(listener, EPOLLIN | EPOLLONESHOT)
        self.listeners.add(listener)

    def turn(self, now: float) -> float | None:
        """At every turn of the loop: when to be asked again (`time.monotonic`); None: when a client comes."""
        if self._next is not None and now >= self._next:
            self._next = None
            for listener in self.listeners:
                try:
                    self._epoll.modify(listener, EPOLLIN | EPOLLONESHOT)
                except OSError:
                    pass  # its owner has closed it
        return self._next

    def client_came(self, now: float, observer: Observer) -> None:
        """There was such an event: look, and have the next one come after a while."""
        self._next = now + LOOK_SECONDS
        if self._board.repair({child.index for child in self._children}):
            observer.scoreboard_overwritten()
        self.replace_stopped(observer)

    def replace_stopped(self, observer: Observer) -> None:
        """Count children that are stopped as waiting no more, so that others are forked. Once they go on they end."""
        for child in self._children:
            if self._board.is_waiting(child.index) and _has_stopped(child.pid):
                child.is_retired = True
                self._board.set_busy(child.index)
                send(RETIRE, [child])
                observer.child_stopped(child.pid)


def _has_stopped(pid: int) -> bool:
    """Whether the child has been stopped since the last look (waitid(2), WSTOPPED)."""
    # Each for itself: one that was stopped at once has not joined the process group of the others yet.
    try:
        return waitid(P_PID, pid, WSTOPPED | WNOHANG) is not None
    except ChildProcessError:
        return False  # it has ended
