"""The client library: find the daemon, and have text upper-cased by it.

    from upperd.client import Client, upper

    upper("straße")                  # one call: 'STRASSE'
    with Client() as client:         # many on one connection
        client.upper("one"); client.upper("two")

The protocol has no frames. So a client that must know that the answer is whole ends with a newline and counts newlines,
as is done here: a newline maps to a newline, and nothing else maps to one. An answer that ends short is never returned:
the call is made again on a new connection (the daemon was restarted, and asking twice does no harm), some times, for a
while, and then raised. What a call can raise is a ClientError. A text of any length is for stream.py.
"""

from __future__ import annotations

import os
from _socket import MSG_NOSIGNAL, MSG_PEEK

from upperd.client.finding import (
    Connection,
    NoDaemonError,
    ReplyTimeoutError,
    ShortReplyError,
    StrangeReplyError,
    connect,
)
from upperd.client.patience import Patience

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = 65536
"""Bytes read or sent at once."""
RESTART_SECONDS = 10.0
"""How long a call tries to connect to a daemon that was there a moment ago."""


class Client:
    """A connection to the daemon, made again when it has ended; a context manager. For one thread."""

    def __init__(
        self,
        path: str | None = None,
        *,
        tcp: str | None = None,
        timeout: float | None = 30.0,
        restart: float = RESTART_SECONDS,
        tell: Callable[[], object] | None = None,
    ) -> None:
        """Connect to the daemon at `path` or `tcp` (HOST:PORT); with neither, to where `upperctl` would (upperctl(1)).

        `timeout`: seconds without progress after which a call fails; None: never. `restart`: seconds, `timeout` at
        most, for which a call tries to connect anew where the daemon has ended our connection. `tell` is called where a
        call has waited for 2 seconds. Raises ClientError.
        """
        self._path, self._tcp, self._timeout, self._restart, self._tell = path, tcp, timeout, restart, tell
        self._is_closed = False
        self._connection: Connection | None = connect_patiently(path, tcp, self._patience())
        self._pid = os.getpid()
        self._is_fresh = True
        """Whether nothing was sent by it yet: a handler may answer before it is asked, and close."""

    def _patience(self) -> Patience:
        return Patience(self._timeout, self._restart, self._tell)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection, for good."""
        self._is_closed = True
        if self._connection is not None:
            self._connection.close()

    @property
    def connection(self) -> Connection | None:
        """The connection at this moment."""
        return self._connection

    def upper(self, text: str) -> str:
        """Return `text` in upper case. Raises ClientError; a later call connects anew.

        Bytes that are no UTF-8 may stand in `text` as os.fsdecode() has them, and come back so; any other surrogate is
        no text (UnicodeEncodeError).
        """
        return self.upper_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def upper_bytes(self, data: bytes) -> bytes:
        """Return `data` in upper case as far as it is UTF-8, the rest unchanged. Raises as `upper` does."""
        was_connected, patience = self._connection is not None, self._patience()
        while True:
            try:
                return self.ask_once(data)
            except StrangeReplyError:
                raise
            except ShortReplyError as error:
                was_connected = True
                patience.pause(error)
            except NoDaemonError as error:
                if not was_connected:
                    raise
                patience.pause(error)

    def ask_once(self, data: bytes) -> bytes:
        """The same for any handler that answers line by line: nothing is sent a second time. Raises as `upper` does."""
        if self._is_closed:
            raise ValueError("the client is closed")
        connection = self._connection
        if connection is not None and (self._pid != os.getpid() or not is_usable(connection, self._is_fresh)):
            # Of the process that we were forked from, whose answers these would be; or the daemon has ended it.
            connection.close()
            connection = None
        # After anything but a whole answer, Ctrl-C too, the next call would get the rest of this one's.
        self._connection, self._is_fresh = None, False
        if connection is None:
            connection = connect_patiently(self._path, self._tcp, self._patience())
        try:
            answer = exchange(connection, data + b"\n", self._patience())
        except BaseException:
            connection.close()
            raise
        self._connection, self._pid = connection, os.getpid()
        return answer[:-1]


def upper(text: str, path: str | None = None, *, tcp: str | None = None, timeout: float | None = 30.0) -> str:
    """Return `text` in upper case, by a connection of its own. The arguments and errors are those of Client."""
    with Client(path, tcp=tcp, timeout=timeout) as client:
        return client.upper(text)


def connect_patiently(path: str | None, tcp: str | None, patience: Patience) -> Connection:
    """Connect, as `connect` does, and wait for room in the daemon's queue as long as `patience` has it."""
    while True:
        try:
            return connect(path, tcp, patience.left())
        except ReplyTimeoutError as error:
            patience.spend(error)


def is_usable(connection: Connection, is_fresh: bool) -> bool:
    """Whether it stands, and has nothing to read but what a handler says before it is asked, on a fresh one."""
    connection.setblocking(False)
    try:
        return bool(connection.recv(1, MSG_PEEK)) and is_fresh
    except BlockingIOError:
        return True
    except OSError:
        return False


def exchange(connection: Connection, data: bytes, patience: Patience) -> bytes:
    """Send `data`, which ends with a newline; return the whole answer. Raises ClientError."""
    missing = data.count(b"\n")
    connection.setblocking(False)
    unsent = send_some(connection, memoryview(data))
    blocks: list[bytes] = []
    while missing > 0:
        try:
            if unsent:
                import select  # a text that the kernel takes at once, as nearly all, needs none

                poll, left = select.poll(), patience.left()
                poll.register(connection, select.POLLIN | select.POLLOUT)
                if not poll.poll(None if left is None else left * 1000):
                    raise no_answer()
                unsent = send_some(connection, unsent)
            else:
                connection.settimeout(patience.left())
            block = receive_some(connection)
        except ReplyTimeoutError as error:
            patience.spend(error)
            continue
        if block == b"":
            raise short_reply(missing, has_answer=bool(blocks))
        patience.renew()
        if block is not None:
            missing -= block.count(b"\n")
            blocks.append(block)
    if missing or blocks[-1][-1:] != b"\n":
        raise strange_reply()
    return b"".join(blocks)


def send_some(connection: Connection, unsent: memoryview) -> memoryview:
    """Send what the kernel takes; returns the rest. A peer that takes no more is seen when its answer ends."""
    try:
        while unsent:
            unsent = unsent[connection.send(unsent[:CHUNK], MSG_NOSIGNAL) :]
    except BlockingIOError:
        pass
    except OSError:
        return unsent[:0]
    return unsent


def receive_some(connection: Connection) -> bytes | None:
    """What there is: None, nothing yet; empty, the end. Raises ReplyTimeoutError, of one with a time-out."""
    try:
        return connection.recv(CHUNK)
    except BlockingIOError:
        return None
    except OSError as error:
        if isinstance(error, TimeoutError) and error.errno is None:  # not ETIMEDOUT, which is the network's
            raise no_answer() from None
        return b""


def no_answer() -> ReplyTimeoutError:
    return ReplyTimeoutError("no answer in time: the daemon is overloaded or stuck")


def strange_reply() -> StrangeReplyError:
    """The error for an answer with more than was asked for."""
    return StrangeReplyError("what came is no answer to what was sent: a handler that does not answer line by line?")


def short_reply(missing: int, has_answer: bool) -> ShortReplyError:
    """The error for an answer with so many lines missing."""
    if has_answer:
        from upperd.base.text import plural

        what = f"{plural(missing, 'line')} of the answer {'is' if missing == 1 else 'are'} missing"
        cause = "the daemon was restarted or ended the connection; send it again"
        return ShortReplyError(f"the connection was closed early, {what}: {cause}")
    what = "the daemon refuses us, its handler failed, or it was restarted"
    error = ShortReplyError(f"the connection was closed without an answer: {what}; its log says which")
    error.has_answer = False
    return error
