"""One connection: read, transform, write.

`UpperHandler` is a plain `BaseRequestHandler`: it runs under every stream server of socketserver, one connection a
process, a thread, or one after the other. Of its server it takes three things more, and does without where they are
missing: `slot`, the row of the scoreboard to count in; `input_paused`, which is asked when nothing can be read, and
`input_ended`, which says to read no more: so a server of ours drains.
"""

from __future__ import annotations

from socketserver import BaseRequestHandler

from upperd.scoreboard import RESET
from upperd.transform import UpperCaser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FIRST_READ = 448
"""Bytes: what Python's allocator of small objects still holds. A short message touches no page of malloc's."""
LARGE_READ = 65536
"""Bytes, from the first read that was filled: measured best for bulk."""


class _NoSlot:
    """Counts nothing: the server has no scoreboard."""

    def received(self, size: int) -> None: ...
    def sent(self, size: int) -> None: ...
    def undecodable(self, count: int) -> None: ...
    def end(self, outcome: int) -> None: ...


class _NoDrain:
    """The server never asks us to end."""

    input_ended = False

    def input_paused(self, request: object, unanswered: int) -> bool:
        return False


class UpperHandler(BaseRequestHandler):
    """Sends every byte back in upper case, as soon as it can be known."""

    def setup(self) -> None:
        server: Any = self.server
        # Not getattr(), here and in all that follows: the text of the name is a page that each child would write to.
        try:
            self.slot = server.slot or _NoSlot()
        except AttributeError:
            self.slot = _NoSlot()
        self._drain = server
        try:
            server.input_ended  # noqa: B018  # whether it has one
        except AttributeError:
            self._drain = _NoDrain()

    def handle(self) -> None:
        """Serve the connection to its end. A peer that goes away is no error."""
        try:
            self._stream(UpperCaser())
        except ConnectionError:
            self.slot.end(RESET)

    def _stream(self, caser: UpperCaser) -> None:
        request, slot = self.request, self.slot
        size = FIRST_READ
        while not self._drain.input_ended:
            try:
                data = request.recv(size)
            except BlockingIOError:
                if not self._input_paused(len(caser.unfinished)):
                    break
                continue
            if not data:
                break
            slot.received(len(data))
            if len(data) == size:
                size = LARGE_READ
            answer = caser.feed(data)
            if answer:
                request.sendall(answer)
                slot.sent(len(answer))
        if caser.unfinished or caser.undecodable:
            self._end(caser)

    def _input_paused(self, unanswered: int) -> bool:
        """Nothing can be read, and the connection has a time-out: whether to go on reading."""
        return bool(self._drain.input_paused(self.request, unanswered))

    def _end(self, caser: UpperCaser) -> None:
        rest = caser.finish()
        if rest:
            self.request.sendall(rest)
            self.slot.sent(len(rest))
        self.slot.undecodable(caser.undecodable)
