"""The parent's loop: one epoll_wait(2), callbacks, and timers.

It knows nothing of sockets and children. A callback never blocks. A descriptor that a callback has finished with is
closed at the end of the turn, so that its number is not used again while an event of the old one is pending.
"""

from __future__ import annotations

import math
import os
import select
from functools import partial
from time import monotonic

from upperd.server import registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

EVENTS = 64
STIR_SECONDS = 0.5
"""How soon the timers are called after an event (`stir`), however long they wanted to wait."""


class Loop:
    """Waits for descriptors and times."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._watched: dict[int, Callable[[], object]] = {}
        self._closed_late: list[socket.socket] = []
        self._deadline = 0.0
        """When the timers are called next; infinite: after the next event."""
        self.timers: list[Callable[[float], float | None]] = []
        """Each is called with the time, and returns by when it wants the next call; None: no matter when."""
        self.now = monotonic()
        self.watch(self._wake, partial(os.eventfd_read, self._wake))

    def watch(self, descriptor: int, callback: Callable[[], object]) -> None:
        """Call `callback` whenever `descriptor` is readable, or its other end is closed."""
        self._watched[descriptor] = callback
        try:
            self._epoll.register(descriptor, select.EPOLLIN)
        except FileExistsError:
            pass  # registered by a call that an exception of a signal handler ended

    def unwatch(self, descriptor: int) -> None:
        """Stop watching. To be called before it is closed."""
        if self._watched.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    def close_late(self, sock: socket.socket) -> None:
        """Stop watching a socket, and close it at the end of the turn."""
        self._closed_late.append(sock)
        self.unwatch(sock.fileno())

    def wake(self) -> None:
        """Make the loop turn. Safe in other threads and in signal handlers."""
        try:
            os.eventfd_write(self._wake, 1)
        except BlockingIOError:
            pass  # enough wake-ups are pending

    def stir(self) -> None:
        """Call the timers within STIR_SECONDS, because one may have to act."""
        by = self.now + STIR_SECONDS
        if self._deadline > by:
            self._deadline = by

    def call_timers(self, by: float = 0.0) -> None:
        """Call the timers at this moment at the latest."""
        self._deadline = min(self._deadline, by)

    def turn(self, timeout: float | None = None) -> bool:
        """Wait for events, at most `timeout` seconds, and act on them. Returns whether there were any."""
        self.now = now = monotonic()
        wait = self._deadline - now
        if wait <= 0:
            self._deadline = math.inf  # a timer may bring it forward
            for timer in self.timers:
                if (wanted := timer(now)) is not None:
                    self.call_timers(wanted)
            wait = 0.0  # a timer may have made room for a waiting connection
        if timeout is not None and timeout < wait:
            wait = timeout
        events = self._epoll.poll(wait if wait != math.inf else -1, EVENTS)
        self.now = monotonic()
        watched = self._watched
        for descriptor, _ in events:
            callback = watched.get(descriptor)
            if callback is not None:
                callback()
        if self._closed_late:
            with registry.lock:
                self._close_late_ones()
        return bool(events)

    def descriptors(self) -> tuple[int, ...]:
        return self._epoll.fileno(), self._wake, *(sock.fileno() for sock in self._closed_late)

    def close(self) -> None:
        self._close_late_ones()
        self._epoll.close()
        os.close(self._wake)

    def _close_late_ones(self) -> None:
        for sock in self._closed_late:
            sock.close()
        self._closed_late.clear()
