"""What one connection may take: how long it may be quiet, how long it may live, how many bytes it may send.

The law: a child keeps its own connection within them (`Allowance`), by time-outs of the socket, so while it is idle
it sleeps. The parent sees to a child that cannot (overdue.py). What was taken is answered before the end, but for bytes
beyond `max_bytes`.

Nearly always a connection is over before anything is due, and every answer fits into the socket. So up to the first
moment at which something may be due there is one timer and no time-out: setsockopt() raises two exceptions inside
before it finds out that it is given no number, which is three pages for a child to copy. For each message two numbers
are compared.
"""

from __future__ import annotations

import struct
from _socket import MSG_DONTWAIT as _MSG_DONTWAIT
from _socket import SO_RCVTIMEO as _SO_RCVTIMEO
from _socket import SO_SNDTIMEO as _SO_SNDTIMEO
from _socket import SOL_SOCKET as _SOL_SOCKET
from signal import ITIMER_REAL, setitimer

from upperd.server.layout import ACTIVE, BYTES, EXPIRES, HEADER, IDLE, IDLE_LIMIT, LIFETIME, LIMITS
from upperd.server.slot import now_usec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from upperd.server.slot import Slot

_GUARDED, _IDLE_TIMEOUT, _MAX_LIFETIME, _MAX_BYTES = (
    HEADER[name] for name in ("guarded", "idle_timeout_usec", "max_lifetime_usec", "max_bytes")
)
_LONGEST = 2**53
"""Microseconds, or bytes: more than that stands for as much."""
_NEVER = 2**62
"""A time, and a number of bytes, that nobody lives to see."""
_LATEST_USEC = 250_000
"""By how much a lifetime may end too late: a time-out of the socket begins anew at every recv() and send()."""
PIECE = 16384
"""Bytes of an answer that are sent at once: a reader that takes so many within the idle time-out is not idle."""


class SpentError(Exception):
    """The connection is over its limits in the middle of an answer, which its reader does not take."""


class Allowance:
    """One connection's, in the child that serves it. The parent makes it, and it serves one after the other."""

    __slots__ = (
        "_end", "_header", "_idle_timeout", "_known", "_left", "_look", "_max_bytes", "_max_lifetime", "_request",
        "_seconds", "_slot", "_timer_end", "_wait", "_waits_to_send", "has_timer", "is_spent",
    )  # fmt: skip

    def __init__(self, header: memoryview) -> None:
        """`header`: that of the scoreboard, where the limits of this moment stand."""
        self._header = header
        self._request: Any = None
        self._slot: Any = None
        self._end = self._look = self._left = self._timer_end = 0
        self._waits_to_send = False
        self.has_timer = True
        """Whether the timer of the process is ours (setitimer(2)). Its signal is to have recv() fail: arm_at_once."""
        self.is_spent = False
        """Whether a limit is reached."""
        self.read()

    def read(self) -> None:
        """Take the limits of this moment, so that a child need not."""
        header = self._header
        self._known = header[_IDLE_TIMEOUT], header[_MAX_LIFETIME], header[_MAX_BYTES]
        # Clamped: somebody may have written over the file.
        self._idle_timeout, self._max_lifetime, self._max_bytes = (min(number, _LONGEST) for number in self._known)
        waits = [usec for usec in (self._idle_timeout, self._max_lifetime) if usec]
        self._wait = min(waits, default=_NEVER)
        self._seconds = self._wait / 1e6 if waits else 0.0

    def begin(self, request: Any, slot: Slot) -> bool:
        """A connection begins, which `slot` says since when. Returns whether it has limits: those of this moment."""
        header = self._header
        if not header[_GUARDED] & LIMITS:
            return False
        if (header[_IDLE_TIMEOUT], header[_MAX_LIFETIME], header[_MAX_BYTES]) != self._known:
            self.read()
        self._request = request
        self._slot = slot
        self.is_spent = self._waits_to_send = False
        self._left = self._max_bytes or _NEVER
        words = slot.words
        # For the parent, if we should not be able to end.
        words[IDLE_LIMIT] = self._idle_timeout
        self._end = self._look = _NEVER
        if self._max_lifetime:
            words[EXPIRES] = self._end = words[ACTIVE] + self._max_lifetime
            # From then on the rest of the lifetime is shorter than the timer and the time-outs say.
            self._look = max(self._end - self._wait, words[ACTIVE] + _LATEST_USEC)
        if self._seconds:
            if self.has_timer:
                self._set_timer()
            else:
                self.arm()
        return True

    def _set_timer(self) -> None:
        """Have the timer end when something may be due, or before: whoever looks too early sets the time-outs.

        So the one of a connection before, of the same child, will do.
        """
        now = now_usec()
        if not now < self._timer_end <= now + self._wait:
            self._timer_end = now + self._wait
            setitimer(ITIMER_REAL, self._seconds)

    def arm(self) -> None:
        """Let recv() and send() fail with EAGAIN when the next limit may be reached."""
        now = now_usec()
        self._look = now + _LATEST_USEC if self._max_lifetime else _NEVER
        waits = []
        if self._idle_timeout:
            waits.append(self._idle_timeout - self._slot.idle_usec())
        if self._max_lifetime:
            waits.append(self._end - now)
        _set_both(self._request, waits)

    def is_over(self) -> bool:
        """Whether a limit of time is reached by now."""
        if now_usec() >= self._end:
            self._spend(LIFETIME)
        elif self._idle_timeout and self._slot.idle_usec() >= self._idle_timeout:
            self._spend(IDLE)
        return self.is_spent

    def take(self, data: bytes) -> bytes:
        """What may be taken of what came in."""
        if self._slot.words[ACTIVE] >= self._look:
            self._look_at_clock()
        left = self._left
        if len(data) > left:
            self._spend(BYTES)
            data = data[:left]
        self._left = left - len(data)
        return data

    def send(self, answer: bytes) -> None:
        """Send an answer. Raises SpentError where a limit of time is reached before it is taken."""
        sent = 0
        try:
            sent = self._request.send(answer, _MSG_DONTWAIT)
            self._slot.sent(sent)
        except BlockingIOError:
            pass
        if sent < len(answer):
            self._send_rest(memoryview(answer)[sent:])

    def _send_rest(self, rest: memoryview) -> None:
        """In pieces, as the peer takes them."""
        if not self._waits_to_send:
            self._waits_to_send = True
            self.arm()
        while rest:
            try:
                sent = self._send_some(rest)
            except BlockingIOError:
                if self.is_over():
                    raise SpentError from None
                self.arm()
                continue
            self._slot.sent(sent)
            rest = rest[sent:]
            self._look_at_clock()

    def _send_some(self, rest: memoryview) -> int:
        """All that the kernel takes now, else a piece, as soon as it takes one."""
        try:
            return int(self._request.send(rest, _MSG_DONTWAIT))
        except BlockingIOError:
            return int(self._request.send(rest[:PIECE]))

    def _look_at_clock(self) -> None:
        """Something moved: the rest of the lifetime may be shorter than the time-outs of the socket say."""
        if self._max_lifetime and not self.is_spent:
            now = now_usec()
            if now >= self._end:
                self._spend(LIFETIME)
            elif now >= self._look:
                self.arm()

    def _spend(self, outcome: int) -> None:
        if not self.is_spent:
            self.is_spent = True
            self._slot.end_at_limit(outcome)


def arm_at_once(request: Any) -> None:
    """For a signal handler: have a recv() that waits fail, so that its caller looks whether a limit is reached."""
    set_timeout(request, _SO_RCVTIMEO, 0)


def arm_again(request: Any, slot: Slot) -> None:
    """For a signal handler: a recv() or send() that it has interrupted is begun again with what is left of its time."""
    words, now = slot.words, now_usec()
    waits = []
    if words[IDLE_LIMIT]:
        waits.append(words[IDLE_LIMIT] - (now - words[ACTIVE]))
    if words[EXPIRES]:
        waits.append(words[EXPIRES] - now)
    _set_both(request, waits)


def _set_both(request: Any, waits: list[int]) -> None:
    """Let recv() and send() wait for the shortest of these, in microseconds; there are none: as long as before."""
    if waits:
        for option in (_SO_RCVTIMEO, _SO_SNDTIMEO):
            set_timeout(request, option, min(waits) / 1e6)


def set_timeout(request: Any, option: int, seconds: float) -> None:
    """Set SO_RCVTIMEO or SO_SNDTIMEO (socket(7)); a connection that is gone needs none."""
    usec = max(1, int(seconds * 1e6))  # zero would mean: for ever
    try:
        request.setsockopt(_SOL_SOCKET, option, struct.pack("@ll", usec // 1_000_000, usec % 1_000_000))
    except OSError:
        pass
