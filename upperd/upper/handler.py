"""The handlers: read, transform, write. Plain `BaseRequestHandler`s, for any server of socketserver.

A server that shows `counters` finds the figures in attributes of these names when a handler has finished.
"""

from __future__ import annotations

from socketserver import BaseRequestHandler

from upperd.upper.transform import UpperCaser

READ_SIZE = 65536
"""Bytes read at once: measured best for bulk."""


class UpperHandler(BaseRequestHandler):
    """Sends every byte of a connection back in upper case, as soon as it can be known."""

    counters = ("undecodable",)
    undecodable = 0
    """Bytes that were not UTF-8."""

    def setup(self) -> None:
        self._caser = UpperCaser()

    def handle(self) -> None:
        request, feed = self.request, self._caser.feed
        while data := request.recv(READ_SIZE):
            request.sendall(feed(data))
        if rest := self._caser.finish():
            request.sendall(rest)

    def finish(self) -> None:
        self.undecodable = self._caser.undecodable


class UpperDatagramHandler(BaseRequestHandler):
    """Sends every datagram back in upper case.

    A datagram is whole: a sequence that is unfinished at its end comes back unchanged. An answer that cannot be sent is
    dropped, as the network does.
    """

    counters = ("undecodable",)
    undecodable = 0
    """Bytes that were not UTF-8."""

    def handle(self) -> None:
        data, sock = self.request
        caser = UpperCaser()
        answer = caser.feed(data) + caser.finish()
        self.undecodable = caser.undecodable
        if self.client_address:  # a sender without an address of its own wants none
            try:
                sock.sendto(answer, self.client_address)
            except OSError:
                pass
