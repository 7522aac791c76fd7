"""Find the daemon and connect to it; hand no text to an impostor in its place.

Every start of `upperctl` imports this, so what is large or seldom needed is imported where it is used: `_socket` is the
part of `socket` that is written in C, and `socket` would take longer than all the rest.
"""

from __future__ import annotations

import _socket
import os

from upperd.base import paths

Connection = _socket.socket


class ClientError(Exception):
    """A call failed. The text says what is wrong and what to do; `status` is the exit status for it (sysexits(3))."""

    status = 69


class NoDaemonError(ClientError):
    """No daemon serves at the address."""


class AccessError(ClientError):
    """We may not connect."""

    status = 77


class ShortReplyError(ClientError):
    """The connection ended before the whole answer had come, or any of it had."""

    status = 76
    has_answer = True


class StrangeReplyError(ShortReplyError):
    """The answer is none to what was sent."""


class ReplyTimeoutError(ClientError):
    """No answer in time."""

    status = 75


def connect(path: str | None = None, tcp: str | None = None, timeout: float | None = None) -> Connection:
    """Connect to the daemon at `path` or `tcp` (HOST:PORT); with neither, at the default places.

    It blocks. `timeout`: seconds to wait for room in the daemon's queue; None: for ever. Raises ClientError.
    """
    if tcp is not None:
        from upperd.client.tcp import connect_named

        return connect_named(tcp, timeout)
    if path is not None:
        return _connect_unix(path, timeout, is_named=True)
    # Our own daemon, else the system's, else TCP, each only if its owner can be trusted with our text.
    failures: list[ClientError] = []
    for path in paths.trusted_sockets(dict(os.environ), os.geteuid()):
        try:
            connection = _connect_unix(path, timeout)
            if not paths.is_of_system(path):  # where only root can have put it
                refuse_impostor(connection, path, _listener_uid(connection), f"--socket {path}")
            return connection
        except ReplyTimeoutError:
            raise  # it is there, and busy
        except ClientError as error:
            failures.append(error)
    if not any(isinstance(failure, AccessError) for failure in failures):  # who is kept out of one way takes no other
        from upperd.client.tcp import connect_trusted

        try:
            return connect_trusted(paths.FALLBACK_TCP, timeout)
        except ReplyTimeoutError:
            raise
        except ClientError as error:
            failures.append(error)
    raise max(failures, key=lambda error: error.status)


def is_fallback(connection: Connection | None, path: str | None, tcp: str | None) -> bool:
    """Whether it is one by TCP that nobody has asked for by name."""
    return connection is not None and path is None and tcp is None and connection.family != _socket.AF_UNIX


_CURE_OF_ABSTRACT = (
    ", and anybody may take such a name: nothing was sent; "
    "to be trusted, a daemon of that user needs a path (--socket PATH)"
)


def refuse_impostor(connection: Connection, where: str, owner: int, option: str = "") -> None:
    """Close the connection where the user that listens there is not trusted with our text. Raises AccessError.

    `option`: what names the place; empty: nothing makes it trusted, since any user may take such a name.
    """
    if owner not in trusted_uids():
        connection.close()
        cure = f": nothing was sent; if you trust it, say so with {option}" if option else _CURE_OF_ABSTRACT
        raise AccessError(f"{where} belongs to uid {owner}, who is not upperd{cure}")


def _listener_uid(connection: Connection) -> int:
    """The uid that listens at the other end of a Unix connection (unix(7), SO_PEERCRED)."""
    credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return int(memoryview(credentials).cast("I")[1])


def trusted_uids() -> set[int]:
    """The users whose listener may get our text unasked: root, the daemon's user, our own."""
    import pwd

    trusted = {0, os.geteuid()}
    try:
        trusted.add(pwd.getpwnam("upperd").pw_uid)
    except KeyError:
        pass
    return trusted


def _connect_unix(path: str, timeout: float | None, *, is_named: bool = False) -> Connection:
    if complaint := paths.complaint_about(path):
        raise ClientError(f"{path}: {complaint}; a path that begins with @ is ./@...")
    if not paths.is_abstract(path) and len(os.fsencode(path)) > paths.MAX_PATH:
        raise ClientError(f"{path}: a socket's path may have {paths.MAX_PATH} bytes")
    connection = Connection(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        if timeout is not None:
            import struct

            # One that does not block would fail at once where the queue is full (unix(7), SO_SNDTIMEO); 0 is no limit.
            limit = struct.pack("@ll", *divmod(max(1, int(timeout * 1e6)), 1_000_000))
            connection.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, limit)
        connection.connect(paths.address_of(path))
    except OSError as error:
        connection.close()
        from upperd.client.explaining import explain  # not for every `upperctl send`

        raise explain(path, error, is_named=is_named) from None
    if paths.is_abstract(path):  # which any user may have taken, so its owner is asked for, though it was named
        refuse_impostor(connection, path, _listener_uid(connection))
    return connection
