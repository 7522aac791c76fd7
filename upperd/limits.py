"""What one connection may take: how long it may be quiet, how long it may live, how many bytes it may send.

The law: a child keeps its own connection within them (`Allowance`), by time-outs of the socket and not by a timer, so
an idle child sleeps. The parent sees to a child that cannot (overdue.py). What was taken is answered before the end,
but for bytes beyond `max_bytes`.
"""

from __future__ import annotations

import struct
from _socket import SO_RCVTIMEO as _SO_RCVTIMEO
from _socket import SO_SNDTIMEO as _SO_SNDTIMEO
from _socket import SOL_SOCKET as _SOL_SOCKET
from time import monotonic

from upperd.layout import ACTIVE, BYTES, EXPIRES, IDLE, IDLE_LIMIT, LIFETIME, LIMITS
from upperd.scoreboard import now_usec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from upperd.scoreboard import Scoreboard, Slot

_LONGEST_USEC = 2**53
_LATEST = 0.25
"""Seconds by which a lifetime may end too late: a time-out of the socket begins anew at every recv() and send()."""
PIECE = 16384
"""Bytes of an answer that are sent at once: a reader that takes so many within the idle time-out is not idle."""


class Limits:
    """The limits of a connection, in seconds and bytes; 0: none."""

    __slots__ = ("idle_timeout", "max_bytes", "max_lifetime")

    def __init__(self, idle_timeout: float = 0.0, max_lifetime: float = 0.0, max_bytes: int = 0) -> None:
        self.idle_timeout = idle_timeout
        self.max_lifetime = max_lifetime
        self.max_bytes = max_bytes


def limits_now(board: Scoreboard) -> Limits | None:
    """Those of the header at this moment; None: there are none."""
    if not board.guards() & LIMITS:
        return None
    # Clamped: somebody may have written over the file.
    idle_usec, lifetime_usec = (min(board[name], _LONGEST_USEC) for name in ("idle_timeout_usec", "max_lifetime_usec"))
    return Limits(idle_usec / 1e6, lifetime_usec / 1e6, board["max_bytes"])


class SpentError(Exception):
    """The connection is over its limits in the middle of an answer, which its reader does not take."""


class Allowance:
    """One connection's, in the child that serves it."""

    def __init__(self, limits: Limits, request: Any, slot: Slot) -> None:
        self._limits = limits
        self._request = request
        self._slot = slot
        self._left = limits.max_bytes
        self._armed = monotonic()
        self._end = self._armed + limits.max_lifetime
        # For the parent, if we should not be able to end.
        slot.words[IDLE_LIMIT] = int(limits.idle_timeout * 1e6)
        slot.words[EXPIRES] = int(self._end * 1e6) if limits.max_lifetime else 0
        self.is_spent = False
        """Whether a limit is reached."""
        self.arm()

    def arm(self) -> None:
        """Let recv() and send() fail with EAGAIN when the next limit may be reached."""
        waits = []
        if self._limits.idle_timeout:
            waits.append(self._limits.idle_timeout - self._slot.idle_usec() / 1e6)
        if self._limits.max_lifetime:
            self._armed = monotonic()
            waits.append(self._end - self._armed)
        if waits:
            set_timeout(self._request, _SO_RCVTIMEO, min(waits))
            set_timeout(self._request, _SO_SNDTIMEO, min(waits))

    def is_over(self) -> bool:
        """Whether a limit of time is reached by now."""
        limits = self._limits
        if limits.max_lifetime and monotonic() >= self._end:
            self._spend(LIFETIME)
        elif limits.idle_timeout and self._slot.idle_usec() / 1e6 >= limits.idle_timeout:
            self._spend(IDLE)
        return self.is_spent

    def take(self, data: bytes) -> bytes:
        """What may be taken of what came in."""
        self._look_at_clock()
        if not self._limits.max_bytes:
            return data
        taken = data[: self._left]
        self._left -= len(taken)
        if len(taken) < len(data):
            self._spend(BYTES)
        return taken

    def send(self, answer: bytes) -> None:
        """Send an answer, in pieces. Raises SpentError where a limit of time is reached before it is taken."""
        rest = memoryview(answer)
        while rest:
            try:
                sent = self._request.send(rest[:PIECE])
            except BlockingIOError:
                if self.is_over():
                    raise SpentError from None
                self.arm()
                continue
            self._slot.sent(sent)
            rest = rest[sent:]
            self._look_at_clock()

    def _look_at_clock(self) -> None:
        """Something moved: the rest of the lifetime is shorter than the time-outs of the socket say."""
        if self._limits.max_lifetime and not self.is_spent:
            now = monotonic()
            if now >= self._end:
                self._spend(LIFETIME)
            elif now - self._armed >= _LATEST:
                self.arm()

    def _spend(self, outcome: int) -> None:
        if not self.is_spent:
            self.is_spent = True
            self._slot.end_at_limit(outcome)


def arm_again(request: Any, slot: Slot) -> None:
    """For a signal handler: a recv() or send() that it has interrupted is begun again with what is left of its time."""
    words, now = slot.words, now_usec()
    waits = []
    if words[IDLE_LIMIT]:
        waits.append(words[IDLE_LIMIT] - (now - words[ACTIVE]))
    if words[EXPIRES]:
        waits.append(words[EXPIRES] - now)
    if waits:
        set_timeout(request, _SO_RCVTIMEO, min(waits) / 1e6)
        set_timeout(request, _SO_SNDTIMEO, min(waits) / 1e6)


def set_timeout(request: Any, option: int, seconds: float) -> None:
    """Set SO_RCVTIMEO or SO_SNDTIMEO (socket(7)); a connection that is gone needs none."""
    usec = max(1, int(seconds * 1e6))  # zero would mean: for ever
    try:
        request.setsockopt(_SOL_SOCKET, option, struct.pack("@ll", usec // 1_000_000, usec % 1_000_000))
    except OSError:
        pass
