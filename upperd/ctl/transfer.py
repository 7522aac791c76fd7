"""A text of any length through one connection, in constant memory: from a descriptor to standard output."""

from __future__ import annotations

import os
import select
import signal
from _socket import SHUT_WR
from collections.abc import Callable

from upperd.client.client import CHUNK, receive_some, send_some, short_reply
from upperd.client.finding import Connection
from upperd.ctl.output import write_out

WATCH_SECONDS = 0.2


def transfer_shown(connection: Connection, source: int) -> None:
    """Transfer all of the descriptor `source`, and show how far it is where a person sees that.

    Raises ShortReplyError, OSError of the source.
    """
    if not os.isatty(2):
        return _transfer(connection, source)
    from upperd.ctl import progress  # which brings in all of rich

    if not progress.is_wanted(source):
        return _transfer(connection, source)
    line = progress.Line(progress.size_of(source))
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # the line is ended before we are
    try:
        _transfer(connection, source, line.show)
    finally:
        line.end()


def _transfer(connection: Connection, source: int, watch: Callable[[int], object] | None = None) -> None:
    """Send, half-close, and write the answer as it comes. `watch` is told how many bytes were sent, now and then."""
    connection.setblocking(False)
    poll = select.poll()
    unsent, sent, last = memoryview(b""), 0, b"\n"
    is_reading, has_ended, has_answer, has_added = True, False, False, False
    missing = 0  # newlines sent, less those received
    while not has_ended:
        poll.register(connection, select.POLLIN | (select.POLLOUT if unsent else 0))
        if is_reading and not unsent:
            poll.register(source, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(WATCH_SECONDS * 1000 if watch else None)}
        if source in ready:
            poll.unregister(source)
            text = os.read(source, CHUNK)
            is_reading = bool(text)
            if not text and last != b"\n":
                # Its own newline is how we know that the answer is whole; it is not handed on.
                text, has_added = b"\n", True
            last, unsent = text[-1:], memoryview(text)
            missing += text.count(b"\n")
        if connection.fileno() in ready:
            before = len(unsent)
            unsent = send_some(connection, unsent)
            sent += before - len(unsent)
            block = receive_some(connection)
            has_ended = block == b""
            if block:
                has_answer = True
                missing -= block.count(b"\n")
                write_out(block[:-1] if has_added and missing == 0 and block.endswith(b"\n") else block)
        if not is_reading and not unsent:
            try:
                connection.shutdown(SHUT_WR)
            except OSError:
                pass  # the peer is gone; what is missing is seen at the end
        if watch is not None:
            watch(sent)
    if is_reading or unsent or missing:
        raise short_reply(max(1, missing), has_answer)
