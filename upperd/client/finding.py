"""Finds the daemon and connects to it, and sends no text to an impostor in its place.

Every start of `upperctl` imports this module, so large or seldom needed modules are imported where they are used.
`_socket` is the C part of `socket`; importing `socket` itself would take longer than everything else here.
"""

from __future__ import annotations

import _socket
import os

from upperd.base import paths

Connection = _socket.socket


class ClientError(Exception):
    """A call failed. The text says what is wrong and what to do; `status` is the exit status (sysexits(3))."""

    status = 69


class NoDaemonError(ClientError):
    """No daemon serves at the address."""


class AccessError(ClientError):
    """Connecting is not permitted, or the listener is not trusted."""

    status = 77


class ShortReplyError(ClientError):
    """The connection ended before the answer was complete; `has_answer`: whether any of it arrived."""

    status = 76
    has_answer = True


class StrangeReplyError(ShortReplyError):
    """The reply cannot be an answer to the text that was sent."""


class ReplyTimeoutError(ClientError):
    """No connection or no answer in time."""

    status = 75


def connect(path: str | None = None, tcp: str | None = None, timeout: float | None = None) -> Connection:
    """Connect to the daemon at `path` or `tcp` (HOST:PORT); by default, at the default places. Blocks.

    `timeout`: seconds to wait for room in the daemon's backlog; None: for ever. Raises ClientError.
    """
    if tcp is not None:
        from upperd.client.tcp import connect_named

        return connect_named(tcp, timeout)
    if path is not None:
        return _connect_unix(path, timeout, is_named=True)
    # The user's own daemon, else the system's, else TCP; each only if its owner can be trusted with the text.
    failures: list[ClientError] = []
    for path in paths.trusted_sockets(dict(os.environ), os.geteuid()):
        try:
            connection = _connect_unix(path, timeout)
            if not paths.is_of_system(path):  # only root can create a socket there
                refuse_impostor(connection, path, _listener_uid(connection), f"--socket {path}")
            return connection
        except ReplyTimeoutError:
            raise  # this is the daemon, and it is busy
        except ClientError as error:
            failures.append(error)
    if not any(isinstance(failure, AccessError) for failure in failures):  # if denied at a socket, do not try TCP
        from upperd.client.tcp import connect_trusted

        try:
            return connect_trusted(paths.FALLBACK_TCP, timeout)
        except ReplyTimeoutError:
            raise
        except ClientError as error:
            failures.append(error)
    raise max(failures, key=lambda error: error.status)


def is_fallback(connection: Connection | None, path: str | None, tcp: str | None) -> bool:
    """Whether `connect` fell back to TCP, with neither `path` nor `tcp` given."""
    return connection is not None and path is None and tcp is None and connection.family != _socket.AF_UNIX


_CURE_OF_ABSTRACT = (
    ": any user can take an abstract name, so nothing was sent; "
    "to be trusted, a daemon of that user needs a path (--socket PATH)"
)


def refuse_impostor(connection: Connection, where: str, owner: int, option: str = "") -> None:
    """Close the connection and raise AccessError if the listening user, `owner`, is not trusted with our text.

    `option`: the option that would make the address trusted; empty: none can, since any user may take its name.
    """
    if owner not in trusted_uids():
        connection.close()
        cure = f": nothing was sent; if you trust that user, use {option}" if option else _CURE_OF_ABSTRACT
        raise AccessError(f"{where} belongs to uid {owner}, not to upperd{cure}")


def _listener_uid(connection: Connection) -> int:
    """The uid of the listener at the other end of a Unix connection (unix(7), SO_PEERCRED)."""
    credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return int(memoryview(credentials).cast("I")[1])


def trusted_uids() -> set[int]:
    """The uids whose listeners are trusted without an option: root, the user upperd, our own."""
    import pwd

    trusted = {0, os.geteuid()}
    try:
        trusted.add(pwd.getpwnam("upperd").pw_uid)
    except KeyError:
        pass
    return trusted


def _connect_unix(path: str, timeout: float | None, *, is_named: bool = False) -> Connection:
    if complaint := paths.complaint_about(path):
        raise ClientError(f"{path}: {complaint}; write a path that begins with @ as ./@...")
    if not paths.is_abstract(path) and len(os.fsencode(path)) > paths.MAX_PATH:
        raise ClientError(f"{path}: a socket path may have at most {paths.MAX_PATH} bytes")
    connection = Connection(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        if timeout is not None:
            import struct

            # A non-blocking connect(2) fails at once if the backlog is full (unix(7), SO_SNDTIMEO). 0 means no limit.
            limit = struct.pack("@ll", *divmod(max(1, int(timeout * 1e6)), 1_000_000))
            connection.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, limit)
        connection.connect(paths.address_of(path))
    except OSError as error:
        connection.close()
        from upperd.client.explaining import explain  # only needed for an error

        raise explain(path, error, is_named=is_named) from None
    if paths.is_abstract(path):  # any user may take an abstract name, so check its owner although it was named
        refuse_impostor(connection, path, _listener_uid(connection))
    return connection
