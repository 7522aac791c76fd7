"""The handlers: read, transform, write. They are plain `BaseRequestHandler`s, for any server of socketserver.

If the request object can count, as upperd's can, they count bytes that are not UTF-8.
"""

from __future__ import annotations

from socketserver import BaseRequestHandler

from upperd.upper.transform import UpperCaser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

READ_SIZE = 65536
"""Bytes in one read; measured as the fastest for bulk transfers."""


class UpperHandler(BaseRequestHandler):
    """Sends every byte of a connection back in upper case, as soon as the result is certain."""

    counters = ("undecodable",)

    def setup(self) -> None:
        self._caser = UpperCaser()

    def handle(self) -> None:
        request, feed = self.request, self._caser.feed
        while data := request.recv(READ_SIZE):
            request.sendall(feed(data))
        if rest := self._caser.finish():
            request.sendall(rest)

    def finish(self) -> None:
        _count(self.request, self._caser.undecodable)


class UpperDatagramHandler(BaseRequestHandler):
    """Sends every datagram back in upper case.

    A UTF-8 sequence that is incomplete at the end of a datagram comes back unchanged. An answer that cannot be sent is
    dropped, as a network drops packets.
    """

    counters = ("undecodable",)

    def handle(self) -> None:
        data, sock = self.request
        caser = UpperCaser()
        answer = caser.feed(data) + caser.finish()
        _count(self.request, caser.undecodable)
        if self.client_address:  # a sender without an address gets no answer
            try:
                sock.sendto(answer, self.client_address)
            except OSError:
                pass


def _count(request: Any, undecodable: int) -> None:
    if undecodable and hasattr(request, "peer"):  # not `count`: a plain tuple has that, too
        request.count("undecodable", undecodable)
