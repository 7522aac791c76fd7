"""A text of any length through the daemon, in constant memory, which outlives the connections that carry it.

What is not answered is kept, and sent again on another connection where the daemon was restarted or killed: no line is
lost, and none is handed on twice. Only what is sent to upperd's own handler may be sent twice.
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
"""Bytes that are kept at most, and a block more: while so many are unanswered no more is read."""
RESTART_SECONDS = 60.0
"""How long a daemon may be away: its drain takes half of that, unless its options say otherwise."""
WATCH_SECONDS = 0.2
LIVED_SECONDS = 1.0
"""A connection that lived for so long is no failure, though nothing came by it."""


class Stream:
    """One text, from a descriptor to a function; for one `transfer`."""

    def __init__(
        self,
        path: str | None = None,
        *,
        tcp: str | None = None,
        timeout: float | None = None,
        may_repeat: Callable[[], bool] = lambda: True,
        tell: Callable[[], object] | None = None,
    ) -> None:
        """Connect, as Client does, whose errors are raised. `timeout`: seconds without progress while an answer is due.

        `may_repeat` says whether upperd's own handler serves there, when that is asked for. `tell`: see Patience.
        """
        self._path, self._tcp, self._may_repeat = path, tcp, may_repeat
        self._patience = Patience(timeout, RESTART_SECONDS, tell)
        self._text = Unanswered()
        self._unsent = memoryview(b"")
        self._has_ended = self._has_answer = self._is_shut = self._is_settled = False
        """Of the source; of any connection; our half of this one; whether it is known if sent data is kept."""
        self.connection: Connection | None = None
        """The connection at this moment."""
        self._open()

    def transfer(
        self, source: int, write: Callable[[bytes], object], watch: Callable[[int], object] | None = None
    ) -> None:
        """Send what there is to read from the descriptor `source`, and `write` the answer as it comes.

        `watch` is told how many bytes were read, now and then. Raises ClientError, and OSError of the source.
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
        """Connect, and have all that is not answered sent; where that is a second time, try for a while."""
        text, patience = self._text, self._patience
        while self.connection is None:
            try:
                self.connection = connect_patiently(self._path, self._tcp, patience)
            except (NoDaemonError, AccessError) as error:  # a socket that is being bound is for nobody yet
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
        """Wait until there is something to do; returns the descriptors that are ready. Raises ReplyTimeoutError."""
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
        """Read the next block of the text, or its end. Returns the number of bytes."""
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
        """Find out, once, whether what is sent may be sent again: where it has begun to answer, or is slow to."""
        if not self._is_settled and (self._has_answer or self._text.size >= KEPT // 2):
            self._is_settled = True
            if not self._may_repeat():
                self._text.stop_keeping()

    def _send(self) -> None:
        """Send what the kernel takes, and our end of file after the last."""
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
                pass  # it is gone, which is seen at once

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
        """The connection has ended. Raises ShortReplyError where the rest cannot be had by another one."""
        self._unsent = memoryview(b"")
        if not self._text.is_due:
            return
        error = short_reply(max(1, self._text.missing), self._has_answer)
        if not (self._text.keeps and self._may_repeat()):
            raise error
        if monotonic() - self._opened_at >= LIVED_SECONDS:
            self._patience.renew()
        self._patience.pause(error)
