"""The children that live: a table of them, kept by their pidfds.

The law: mechanism only. A child has a pidfd (pidfd_open(2)) in the parent's epoll, so its end is seen at once, in any
thread of any program, without SIGCHLD, and nobody else's child is ever reaped. Where the table of descriptors is full
there is no pidfd to be had: that child lives on all the same, since it may have taken a connection by then, and is
looked after (`look_after`) until it can be watched like the others.
"""

from __future__ import annotations

import os
import resource  # os.wait4() imports it when first called: by then the table may be full
import signal
from os import WNOHANG, close, pidfd_open, wait4
from select import EPOLLIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from select import epoll

    from upperd.server.child import Server


class Living:
    """A child that lives, or has not been reaped. `pidfd` is -1 while it cannot be watched."""

    __slots__ = ("index", "is_overdue", "is_retired", "pid", "pidfd", "server")

    def __init__(self, pid: int, index: int, server: Server) -> None:
        self.pid = pid
        self.pidfd = -1
        self.index = index
        self.server = server
        self.is_overdue = False
        """Whether it was killed since it had outlasted a limit."""
        self.is_retired = False
        """Whether it was forked by settings that no longer hold."""


class Children:
    """The table. Iterating gives every child, watched or not."""

    def __init__(self, epoll: epoll) -> None:
        self._epoll = epoll
        self._watched: dict[int, Living] = {}
        self._unwatched: list[Living] = []
        self.find = self._watched.get
        """The child with this pidfd; None: it is not one of ours."""

    def __len__(self) -> int:
        return len(self._watched) + len(self._unwatched)

    def __iter__(self) -> Iterator[Living]:
        return iter([*self._watched.values(), *self._unwatched])

    def pidfds(self) -> Iterable[int]:
        """The descriptors that are ours."""
        return self._watched

    def add(self, child: Living) -> OSError | None:
        """Keep a child. Returns why it cannot be watched, if so."""
        try:
            child.pidfd = pidfd_open(child.pid)
            self._epoll.register(child.pidfd, EPOLLIN)
        except OSError as error:
            _close(child)
            self._unwatched.append(child)
            return error
        self._watched[child.pidfd] = child
        return None

    def look_after(self) -> list[Living]:
        """Take the unwatched children out of the table: each is to be reaped, or added again."""
        unwatched, self._unwatched = self._unwatched, []
        return unwatched

    def reap(self, child: Living) -> tuple[int | None, resource.struct_rusage | None] | None:
        """The wait(2) status and the rusage of a child, which leaves the table; None: it has not ended.

        (None, None): somebody else has reaped it.
        """
        status, rusage = None, None
        try:
            pid, status, rusage = wait4(child.pid, WNOHANG)
        except ChildProcessError:
            pid = child.pid
        if pid == 0:
            return None
        if child.pidfd >= 0:
            del self._watched[child.pidfd]
            # Before close(): a child just forked may hold a copy, and epoll would report it for ever (epoll(7), Q6).
            self._epoll.unregister(child.pidfd)
            _close(child)
        return status, rusage

    def forget(self) -> None:
        """Be empty."""
        for child in self:
            _close(child)
        self._watched.clear()
        self._unwatched.clear()


def _close(child: Living) -> None:
    if child.pidfd >= 0:
        close(child.pidfd)
        child.pidfd = -1


def send(number: signal.Signals, children: Iterable[Living]) -> None:
    """Send a signal to each of these children that has not ended."""
    for child in children:
        try:
            if child.pidfd >= 0:
                signal.pidfd_send_signal(child.pidfd, number)
            else:
                os.kill(child.pid, number)
        except ProcessLookupError:
            pass  # it has ended; the next turn of the loop says so
