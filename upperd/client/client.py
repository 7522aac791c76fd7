"""The client library: finds the daemon and has text upper-cased by it.

    from upperd.client import Client, upper

    upper("straße")                  # one call: 'STRASSE'
    with Client() as client:         # many calls on one connection
        client.upper("one"); client.upper("two")

The protocol has no frames. To know when the answer is complete, the client ends each text with a newline and counts the
newlines that come back: a newline maps to a newline, and nothing else does. A short answer is never returned. The call
is repeated on a new connection, which is harmless, in case the daemon was restarted; after a few tries (patience.py) it
raises ShortReplyError. Every error is a ClientError. For text of unbounded length see stream.py.
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
"""How long a call tries to reconnect to a daemon that has ended its connection."""


class Client:
    """A connection to the daemon that reconnects when it has ended; a context manager. Not thread-safe."""

    def __init__(
        self,
        path: str | None = None,
        *,
        tcp: str | None = None,
        timeout: float | None = 30.0,
        restart: float = RESTART_SECONDS,
        tell: Callable[[], object] | None = None,
    ) -> None:
        """Connect to the daemon at `path` or `tcp` (HOST:PORT); by default, find it as `upperctl` does (upperctl(1)).

        `timeout`: seconds without progress after which a call fails; None: never. `restart`: seconds for which a call
        tries to reconnect after the daemon has ended the connection, at most `timeout`. `tell` is called when a call
        has waited for 2 seconds. Raises ClientError.
        """
        self._path, self._tcp, self._timeout, self._restart, self._tell = path, tcp, timeout, restart, tell
        self._is_closed = False
        self._connection: Connection | None = connect_patiently(path, tcp, self._patience())
        self._pid = os.getpid()
        self._is_fresh = True
        """Whether nothing was sent on the connection yet. A handler may speak first, and close."""

    def _patience(self) -> Patience:
        return Patience(self._timeout, self._restart, self._tell)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. Later calls raise ValueError."""
        self._is_closed = True
        if self._connection is not None:
            self._connection.close()

    @property
    def connection(self) -> Connection | None:
        """The current connection, if any."""
        return self._connection

    def upper(self, text: str) -> str:
        """Return `text` in upper case. Raises ClientError; the next call reconnects.

        Bytes that are not UTF-8 are passed and returned as surrogate escapes, as os.fsdecode() makes them (PEP 383).
        Any other surrogate raises UnicodeEncodeError.
        """
        return self.upper_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def upper_bytes(self, data: bytes) -> bytes:
        """Return `data` in upper case. Bytes that are not UTF-8 come back unchanged. Raises as `upper` does."""
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
        """As `upper_bytes`, but sends only once: for any handler that answers line by line. Raises as `upper` does."""
        if self._is_closed:
            raise ValueError("the client is closed")
        connection = self._connection
        if connection is not None and (self._pid != os.getpid() or not is_usable(connection, self._is_fresh)):
            # The daemon has ended it; or it belongs to the process that forked us, and so do the answers on it.
            connection.close()
            connection = None
        # If this call fails or is interrupted (Ctrl-C), the next one must not read the rest of its answer.
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
    """Return `text` in upper case, on a connection of its own. Arguments and errors are those of Client."""
    with Client(path, tcp=tcp, timeout=timeout) as client:
        return client.upper(text)


def connect_patiently(path: str | None, tcp: str | None, patience: Patience) -> Connection:
    """Connect as `connect` does. Wait for room in the daemon's backlog for as long as `patience` allows."""
    while True:
        try:
            return connect(path, tcp, patience.left())
        except ReplyTimeoutError as error:
            patience.spend(error)


def is_usable(connection: Connection, is_fresh: bool) -> bool:
    """Whether the connection is open and has nothing to read, except a handler's greeting on a fresh one."""
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
                import select  # imported here: the kernel takes nearly every text at once

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
    """Send what the kernel takes; return the rest. A peer that stopped reading shows when its answer ends."""
    try:
        while unsent:
            unsent = unsent[connection.send(unsent[:CHUNK], MSG_NOSIGNAL) :]
    except BlockingIOError:
        pass
    except OSError:
        return unsent[:0]
    return unsent


def receive_some(connection: Connection) -> bytes | None:
    """Return the next data: None if there is none yet, empty at the end. Raises ReplyTimeoutError at a time-out."""
    try:
        return connection.recv(CHUNK)
    except BlockingIOError:
        return None
    except OSError as error:
        if isinstance(error, TimeoutError) and error.errno is None:  # not ETIMEDOUT, which comes from the network
            raise no_answer() from None
        return b""


def no_answer() -> ReplyTimeoutError:
    return ReplyTimeoutError("no answer in time: the daemon is overloaded or stuck")


def strange_reply() -> StrangeReplyError:
    """The error for an answer that has more lines than were sent, or does not end with a newline."""
    return StrangeReplyError("the answer does not match the text: does the daemon's handler answer line by line?")


def short_reply(missing: int, has_answer: bool) -> ShortReplyError:
    """The error for an answer that lacks `missing` lines."""
    if has_answer:
        from upperd.base.text import plural

        what = f"{plural(missing, 'line')} of the answer {'is' if missing == 1 else 'are'} missing"
        cause = "the daemon was restarted or ended the connection; send the text again"
        return ShortReplyError(f"the connection was closed early, {what}: {cause}")
    what = "the daemon refused the connection, its handler failed, or it was restarted"
    error = ShortReplyError(f"the connection was closed without an answer: {what}; its log says which")
    error.has_answer = False
    return error
