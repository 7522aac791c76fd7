"""One connection: read, transform, write.

`UpperHandler` is a plain `BaseRequestHandler`: it runs under every stream server of socketserver, one connection a
process, a thread, or one after the other. Of a server of ours it takes more, and does without where it is missing:
`slot`, the row of the scoreboard to count in; `allowance`, what the connection may take, and `end_input`, which is
called at a limit; `input_paused`, which is asked when nothing can be read, and `input_ended`, which says to read no
more.
"""

from __future__ import annotations

from _socket import MSG_DONTWAIT as _MSG_DONTWAIT
from errno import EHOSTUNREACH, ENETUNREACH, ETIMEDOUT
from socketserver import BaseRequestHandler

from upperd.server.layout import RESET
from upperd.server.limits import SpentError
from upperd.upper.transform import UpperCaser, is_ascii, upper_ascii

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from upperd.server.limits import Allowance

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

    allowance = None
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
        self._caser: UpperCaser | None = None
        allowance = self._owner.allowance
        has_limits = allowance is not None and allowance.begin(self.request, self.slot)
        self._allowance: Allowance | None = allowance if has_limits else None

    def handle(self) -> None:
        """Serve the connection to its end. A peer that goes away is no error, nor is one that cannot be reached."""
        try:
            self._stream()
        except ConnectionError:
            self.slot.end(RESET)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            self.slot.end(RESET)
        except SpentError:
            pass  # what could not be sent is for nobody

    def _stream(self) -> None:
        request, slot, owner, allowance = self.request, self.slot, self._owner, self._allowance
        size = FIRST_READ
        while not owner.input_ended:
            try:
                data = request.recv(size)
            except BlockingIOError:
                if not self._may_read_on():
                    break
                continue
            if not data:
                break
            slot.received(len(data))
            if len(data) == size:
                if size == FIRST_READ:
                    data += self._rest()
                size = LARGE_READ
            if allowance is not None:
                data = allowance.take(data)
            # ASCII needs no caser, and a child then none of the pages that the caser writes to.
            answer = upper_ascii(data) if self._caser is None and is_ascii(data) else self._upper(data)
            if allowance is not None:
                self._send_within(allowance, answer)
            elif answer:
                request.sendall(answer)
                slot.sent(len(answer))
        if self._caser is not None:
            self._end(self._caser)

    def _rest(self) -> bytes:
        """What has come beyond a first read that was filled: many a client takes its answer by one recv()."""
        try:
            rest: bytes = self.request.recv(LARGE_READ, _MSG_DONTWAIT)
        except BlockingIOError:
            return b""
        if rest:
            self.slot.received(len(rest))
        return rest

    def _upper(self, data: bytes) -> bytes:
        if self._caser is None:
            self._caser = UpperCaser()
        return self._caser.feed(data)

    def _send_within(self, allowance: Allowance, answer: bytes) -> None:
        """Send an answer, and take nothing more from the client where its allowance is spent."""
        if allowance.is_spent:
            self._owner.end_input(self.request)
        if answer:
            allowance.send(answer)
            if allowance.is_spent:  # meanwhile
                self._owner.end_input(self.request)

    def _may_read_on(self) -> bool:
        """Nothing can be read, and the connection has a time-out."""
        allowance = self._allowance
        if allowance is not None and allowance.is_over():
            return bool(self._owner.end_input(self.request))
        if allowance is None or self._owner.is_draining:
            unanswered = 0 if self._caser is None else len(self._caser.unfinished)
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
        if caser.undecodable:
            self.slot.undecodable(caser.undecodable)
