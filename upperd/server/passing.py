"""Connections that children pass up, since a child never serves two users: the one that waits for a child of its own.

One at a time; the next ones wait in the queue of the link. What was accepted is never dropped while we can help it.
"""

from __future__ import annotations

import os
import select
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from upperd.server.link import Link


class Passing:
    """The parent's end of that queue, and the connection that was taken from it: `waiting`, of listener `listener`."""

    def __init__(self, link: Link, epoll: select.epoll) -> None:
        self._link = link
        self._epoll = epoll
        self.waiting: socket.socket | None = None
        self.listener = 0
        epoll.register(link.passing_descriptor(), select.EPOLLIN)

    def take(self) -> bool:
        """Take the next one, where none waits. Returns whether one waits."""
        if self.waiting is None:
            taken = self._link.take_passed()
            if taken is not None:
                self.listener, descriptor = taken
                try:
                    self.waiting = socket.socket(fileno=descriptor)
                except OSError:  # a child that is not itself any more has sent something else
                    os.close(descriptor)
                    self._link.restore_reserve()
                    return False
                self._epoll.modify(self._link.passing_descriptor(), 0)
        return self.waiting is not None

    def close(self) -> None:
        """The one that waited is served, or nobody can serve it."""
        if self.waiting is not None:
            self.waiting.close()
            self.waiting = None
            self._link.restore_reserve()
            self._epoll.modify(self._link.passing_descriptor(), select.EPOLLIN)

    def drop(self) -> int:
        """Nobody will serve those that are left: close them. Returns how many they were."""
        count = 0
        while self.take():
            self.close()
            count += 1
        return count
