"""Sends text of any length through the daemon in constant memory, across as many connections as that takes.

Text is kept until it is answered. If the daemon is restarted or killed, that text is sent again on a new connection, so
no line is lost and none is output twice. Text is only sent again to upperd's own handler.
"""

from __future__ import annotations

import os
import select
from _socket import SHUT_WR
from time import monotonic

from upperd.client.client import (
    CHUNK,
    connect_patiently,
    no_answer,
    receive_some,
    send_some,
    short_reply,
    strange_reply,
)
from upperd.client.finding import AccessError, NoDaemonError
from upperd.client.patience import Patience
from upperd.client.unanswered import Unanswered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from upperd.client.finding import Connection

KEPT = 1 << 20
"""Bytes of unanswered text at which reading stops; at most one block more is kept."""
RESTART_SECONDS = 60.0
"""How long the daemon may be away: twice its default drain timeout."""
WATCH_SECONDS = 0.2
LIVED_SECONDS = 1.0
"""A connection that lasted this long does not count as a failed try, even if it brought no answer."""


class Stream:
    """One text, read from a descriptor, its answer passed to a function; for one `transfer`."""

    def __init__(
        self,
        path: str | None = None,
        *,
        tcp: str | None = None,
        timeout: float | None = None,
        may_repeat: Callable[[], bool] = lambda: True,
        tell: Callable[[], object] | None = None,
    ) -> None:
        """Connect as Client does, and raise the same errors. `timeout`: seconds without progress with an answer due.

        `may_repeat` returns whether text may be sent twice: upperd's own handler serves there. `tell`: see Patience.
        """
        self._path, self._tcp, self._may_repeat = path, tcp, may_repeat
        self._patience = Patience(timeout, RESTART_SECONDS, tell)
        self._text = Unanswered()
        self._unsent = memoryview(b"")
        self._has_ended = self._has_answer = self._is_shut = self._is_settled = False
        """The source has ended; any answer came; our side is shut down; `may_repeat` was asked."""
        self.connection: Connection | None = None
        """The current connection, if any."""
        self._open()

    def transfer(
        self, source: int, write: Callable[[bytes], object], watch: Callable[[int], object] | None = None
    ) -> None:
        """Send everything that can be read from the descriptor `source`, and `write` the answer as it arrives.

        `watch` gets the number of bytes read, at least every WATCH_SECONDS. Raises ClientError; OSError of the source.
        """
        read = 0
        try:
            while not self._is_over():
                if self.connection is None and self._text.is_due:
                    self._open()
                ready = self._wait(source, None if watch is None else WATCH_SECONDS)
                if self.connection is not None and self.connection.fileno() in ready:
                    self._exchange(write)
                if source in ready:
                    read += self._read(source)
                if watch is not None:
                    watch(read)
            write(self._text.rest())
        finally:
            if self.connection is not None:
                self.connection.close()

    def _is_over(self) -> bool:
        return self._has_ended and self.connection is None and not self._text.is_due

    def _open(self) -> None:
        """Connect, and start sending all unanswered text. Once text was sent or answered, keep trying for a while."""
        text, patience = self._text, self._patience
        while self.connection is None:
            try:
                self.connection = connect_patiently(self._path, self._tcp, patience)
            except (NoDaemonError, AccessError) as error:  # a socket being bound has no permissions yet
                if not self._has_begun():
                    raise
                patience.pause(error)
        self.connection.setblocking(False)
        self._opened_at = monotonic()
        self._is_shut = False
        text.rewind()
        self._unsent = memoryview(text.next_block())

    def _has_begun(self) -> bool:
        return self._text.is_due or self._has_answer

    def _wait(self, source: int, longest: float | None) -> set[int]:
        """Wait until there is something to do; return the ready descriptors. Raises ReplyTimeoutError."""
        poll = select.poll()
        connection = self.connection
        if connection is not None:
            poll.register(connection, select.POLLIN | (select.POLLOUT if self._unsent else 0))
        if not self._has_ended and not self._unsent and self._text.size < KEPT:
            poll.register(source, select.POLLIN)
        is_due = bool(self._unsent or self._text.missing or self._is_shut)
        left = self._patience.left() if is_due else None
        waits = [seconds for seconds in (left, longest) if seconds is not None]
        ready = {descriptor for descriptor, _ in poll.poll(min(waits) * 1000 if waits else None)}
        if not is_due:
            self._patience.renew()  # it counts from now
        elif not ready and left is not None:
            self._patience.spend(no_answer())
        return ready

    def _read(self, source: int) -> int:
        """Read the next block of the text, or its end; return the number of bytes."""
        block = os.read(source, CHUNK)
        if block:
            self._text.add(block)
        else:
            self._has_ended = True
            self._text.end()
        self._settle()
        self._send()
        return len(block)

    def _settle(self) -> None:
        """Ask `may_repeat` once: when the answer begins, or when half of KEPT is unanswered."""
        if not self._is_settled and (self._has_answer or self._text.size >= KEPT // 2):
            self._is_settled = True
            if not self._may_repeat():
                self._text.stop_keeping()

    def _send(self) -> None:
        """Send what the kernel takes, and shut down our side after the end of the text."""
        connection = self.connection
        if connection is None:
            return
        while self._unsent or (block := self._text.next_block()):
            self._unsent = send_some(connection, self._unsent or memoryview(block))
            if self._unsent:
                return
        if self._has_ended and not self._is_shut:
            self._is_shut = True
            try:
                connection.shutdown(SHUT_WR)
            except OSError:
                pass  # the connection is gone, which the next read shows

    def _exchange(self, write: Callable[[bytes], object]) -> None:
        connection = self.connection
        assert connection is not None
        self._send()
        block = receive_some(connection)
        if block == b"":
            connection.close()
            self.connection = None
            self._ended()
        elif block is not None:
            self._has_answer = True
            self._settle()
            if answer := self._text.answer(block):
                self._patience.renew()
                write(answer)
            if self._text.missing < 0:
                raise strange_reply()

    def _ended(self) -> None:
        """Handle the end of the connection. Raises ShortReplyError if another one cannot bring the rest."""
        self._unsent = memoryview(b"")
        if not self._text.is_due:
            return
        error = short_reply(max(1, self._text.missing), self._has_answer)
        if not (self._text.keeps and self._may_repeat()):
            raise error
        if monotonic() - self._opened_at >= LIVED_SECONDS:
            self._patience.renew()
        self._patience.pause(error)
