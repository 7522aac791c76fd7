"""The client library: find the daemon, and have text upper-cased by it.

    from upperd.client import Client, upper

    upper("straße")                  # one call: 'STRASSE'
    with Client() as client:         # many on one connection
        client.upper("one"); client.upper("two")

The protocol has no frames. So a client that must know that the answer is whole ends with a newline and counts newlines,
as is done here: a newline maps to a newline, and nothing else maps to one. An answer that ends short is never returned:
the call is made again, once, on a new connection (the daemon was restarted, and asking twice does no harm), and then
raised. What a call can raise is a ClientError.
"""

from __future__ import annotations

from _socket import MSG_NOSIGNAL

from upperd.client.finding import Connection, ReplyTimeoutError, ShortReplyError, connect

CHUNK = 65536
"""Bytes read or sent at once."""


class Client:
    """A connection to the daemon, made again when it has ended; a context manager. For one thread."""

    def __init__(self, path: str | None = None, *, tcp: str | None = None, timeout: float | None = 30.0) -> None:
        """Connect to the daemon at `path` or `tcp` (HOST:PORT); with neither, to where `upperctl` would (upperctl(1)).

        `timeout`: seconds without progress after which a call fails; None: never. Raises ClientError.
        """
        self._path, self._tcp, self._timeout = path, tcp, timeout
        self._connection: Connection | None = connect(path, tcp, timeout)
        self._is_closed = False

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection, for good."""
        self._is_closed = True
        if self._connection is not None:
            self._connection.close()

    def upper(self, text: str) -> str:
        """Return `text` in upper case. Raises ClientError; a later call connects anew.

        Bytes that are no UTF-8 may stand in `text` as os.fsdecode() has them, and come back so; any other surrogate is
        no text (UnicodeEncodeError).
        """
        return self.upper_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")

    def upper_bytes(self, data: bytes) -> bytes:
        """Return `data` in upper case as far as it is UTF-8, the rest unchanged. Raises as `upper` does."""
        if self._is_closed:
            raise ValueError("the client is closed")
        try:
            return self.ask_once(data)
        except ShortReplyError:
            return self.ask_once(data)

    def ask_once(self, data: bytes) -> bytes:
        """The same for any handler that answers line by line: nothing is sent a second time. Raises as `upper` does."""
        connection = self._connection or connect(self._path, self._tcp, self._timeout)
        # After anything but a whole answer, Ctrl-C too, the next call would get the rest of this one's.
        self._connection = None
        try:
            answer = exchange(connection, data + b"\n", self._timeout)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return answer[:-1]


def upper(text: str, path: str | None = None, *, tcp: str | None = None, timeout: float | None = 30.0) -> str:
    """Return `text` in upper case, by a connection of its own. The arguments and errors are those of Client."""
    with Client(path, tcp=tcp, timeout=timeout) as client:
        return client.upper(text)


def exchange(connection: Connection, data: bytes, timeout: float | None) -> bytes:
    """Send `data`, which ends with a newline; return the whole answer. `timeout`: as of Client. Raises ClientError."""
    missing = data.count(b"\n")
    connection.setblocking(False)
    unsent = send_some(connection, memoryview(data))
    blocks: list[bytes] = []
    while missing > 0:
        if unsent:
            import select  # a text that the kernel takes at once, as nearly all, needs none

            poll = select.poll()
            poll.register(connection, select.POLLIN | select.POLLOUT)
            if not poll.poll(None if timeout is None else timeout * 1000):
                raise _no_answer()
            unsent = send_some(connection, unsent)
        else:
            connection.settimeout(timeout)
        block = receive_some(connection)
        if block == b"":
            raise short_reply(missing, has_answer=bool(blocks))
        if block is not None:
            missing -= block.count(b"\n")
            blocks.append(block)
    if missing or blocks[-1][-1:] != b"\n":
        raise ShortReplyError("what came is no answer to what was sent: a handler that does not answer line by line?")
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
            raise _no_answer() from None
        return b""


def _no_answer() -> ReplyTimeoutError:
    return ReplyTimeoutError("no answer in time: the daemon is overloaded or stuck")


def short_reply(missing: int, has_answer: bool) -> ShortReplyError:
    """The error for an answer with so many lines missing."""
    if has_answer:
        what = f"{missing} lines of the answer are missing: the daemon was restarted or ended the connection"
        return ShortReplyError(f"the connection was closed early, {what}; send it again")
    what = "the daemon refuses us, its handler failed, or it was restarted"
    return ShortReplyError(f"the connection was closed without an answer: {what}; its log says which")
