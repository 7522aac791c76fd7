"""One connection: read, transform, write.

`UpperHandler` is a plain `BaseRequestHandler`: it runs under every stream server of socketserver, one connection a
process, a thread, or one after the other. Of a server of ours it takes more, and does without where it is missing:
`slot`, the row of the scoreboard to count in; `limits`, what the connection may take, and `end_input`, which is called
at a limit; `input_paused`, which is asked when nothing can be read, and `input_ended`, which says to read no more.
"""

from __future__ import annotations

from errno import EHOSTUNREACH, ENETUNREACH, ETIMEDOUT
from socketserver import BaseRequestHandler

from upperd.layout import RESET
from upperd.limits import Allowance, SpentError
from upperd.transform import UpperCaser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FIRST_READ = 448
"""Bytes: what Python's allocator of small objects still holds. A short message touches no page of malloc's."""
_GONE = (ETIMEDOUT, EHOSTUNREACH, ENETUNREACH)
"""What TCP says of a peer that answers no more (tcp(7), "Error handling"; ip(7))."""
LARGE_READ = 65536
"""Bytes, from the first read that was filled: measured best for bulk."""


class _NoSlot:
    """Counts nothing: the server has no scoreboard."""

    def received(self, size: int) -> None: ...
    def sent(self, size: int) -> None: ...
    def undecodable(self, count: int) -> None: ...
    def end(self, outcome: int) -> None: ...


class _NoServer:
    """What is missing in a server that is not ours: it never asks us to end."""

    limits = None
    input_ended = False

    def input_paused(self, request: object, unanswered: int) -> bool:
        return False


class UpperHandler(BaseRequestHandler):
    """Sends every byte back in upper case, as soon as it can be known."""

    def setup(self) -> None:
        server: Any = self.server
        # Not getattr(), here and in all that follows: the text of the name is a page that each child would write to.
        self.slot: Any
        try:
            self.slot = server.slot or _NoSlot()
        except AttributeError:
            self.slot = _NoSlot()
        self._owner = server
        try:
            server.input_ended  # noqa: B018  # whether it has one
        except AttributeError:
            self._owner = _NoServer()
        limits = self._owner.limits
        self._allowance = None if limits is None else Allowance(limits, self.request, self.slot)

    def handle(self) -> None:
        """Serve the connection to its end. A peer that goes away is no error, nor is one that cannot be reached."""
        try:
            self._stream(UpperCaser())
        except ConnectionError:
            self.slot.end(RESET)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            self.slot.end(RESET)
        except SpentError:
            pass  # what could not be sent is for nobody

    def _stream(self, caser: UpperCaser) -> None:
        request, slot, allowance = self.request, self.slot, self._allowance
        size = FIRST_READ
        while not self._owner.input_ended:
            try:
                data = request.recv(size)
            except BlockingIOError:
                if not self._may_read_on(len(caser.unfinished)):
                    break
                continue
            if not data:
                break
            slot.received(len(data))
            if len(data) == size:
                size = LARGE_READ
            if allowance is not None:
                self._take_within_limits(caser, allowance, data)
                continue
            answer = caser.feed(data)
            if answer:
                request.sendall(answer)
                slot.sent(len(answer))
        if caser.unfinished or caser.undecodable:
            self._end(caser)

    def _take_within_limits(self, caser: UpperCaser, allowance: Allowance, data: bytes) -> None:
        """Answer what may be taken of it, and take nothing more from the client where that was all."""
        answer = caser.feed(allowance.take(data))
        if allowance.is_spent:
            self._owner.end_input(self.request)
        if answer:
            allowance.send(answer)
            if allowance.is_spent:  # meanwhile
                self._owner.end_input(self.request)

    def _may_read_on(self, unanswered: int) -> bool:
        """Nothing can be read, and the connection has a time-out."""
        allowance = self._allowance
        if allowance is not None and allowance.is_over():
            return bool(self._owner.end_input(self.request))
        if allowance is None or self._owner.is_draining:
            return bool(self._owner.input_paused(self.request, unanswered))
        allowance.arm()
        return True

    def _end(self, caser: UpperCaser) -> None:
        rest = caser.finish()
        if rest and self._allowance is not None:
            self._allowance.send(rest)
        elif rest:
            self.request.sendall(rest)
            self.slot.sent(len(rest))
        self.slot.undecodable(caser.undecodable)
