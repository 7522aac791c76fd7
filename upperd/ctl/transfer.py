"""A text of any length through one connection, in constant memory: from a descriptor to a function."""

from __future__ import annotations

import os
import select
from _socket import SHUT_WR

from upperd.client.client import CHUNK, receive_some, send_some, short_reply

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from upperd.client.finding import Connection


class Transfer:
    """One text on its way."""

    def __init__(
        self,
        connection: Connection,
        source: int,
        sink: Callable[[bytes], object],
        watch: Callable[[int], object] | None = None,
        interval: float = 0.2,
    ) -> None:
        """From the descriptor `source` to `sink`, which gets the answer as it comes.

        `watch` is told how many bytes have been sent, at the least every `interval` seconds.
        """
        self._connection = connection
        self._source = source
        self._sink = sink
        self._watch = watch
        self._wait = None if watch is None else interval * 1000
        self._unsent = memoryview(b"")
        self._reading = True
        self._sent = 0
        self._newlines = 0
        """Sent, less received."""
        self._last = b"\n"
        self._added_newline = False
        self._has_answer = False

    def run(self) -> None:
        """Send all, half-close, and hand on the answer. Raises ShortReplyError, OSError of the source."""
        connection = self._connection
        connection.setblocking(False)
        poll = select.poll()
        while True:
            poll.register(connection, select.POLLIN | (select.POLLOUT if self._unsent else 0))
            if self._reading and not self._unsent:
                poll.register(self._source, select.POLLIN)
            ready = {descriptor for descriptor, _ in poll.poll(self._wait)}
            if self._watch is not None:
                self._watch(self._sent)
            if self._source in ready:
                poll.unregister(self._source)
                self._read_source()
            if connection.fileno() in ready and not self._step():
                break
        self._finish()

    def _read_source(self) -> None:
        block = os.read(self._source, CHUNK)
        if not block:
            self._reading = False
            if self._last == b"\n":
                self._half_close()
                return
            # Its own newline is how we know that the answer is whole; it is not handed on.
            block, self._added_newline = b"\n", True
        self._last = block[-1:]
        self._newlines += block.count(b"\n")
        self._unsent = memoryview(block)

    def _step(self) -> bool:
        """Send and receive what can be. False: the answer has ended."""
        if self._unsent:
            before = len(self._unsent)
            self._unsent = send_some(self._connection, self._unsent)
            self._sent += before - len(self._unsent)
            if not self._unsent and not self._reading:
                self._half_close()
        block = receive_some(self._connection)
        if block:
            self._has_answer = True
            self._newlines -= block.count(b"\n")
            is_ours = self._added_newline and self._newlines == 0 and block.endswith(b"\n")
            self._sink(block[:-1] if is_ours else block)
        return block != b""

    def _half_close(self) -> None:
        try:
            self._connection.shutdown(SHUT_WR)
        except OSError:
            pass  # the peer is gone; what is missing is seen at the end

    def _finish(self) -> None:
        if self._watch is not None:
            self._watch(self._sent)
        if self._reading or self._unsent or self._newlines:
            raise short_reply(max(1, self._newlines), self._has_answer)
