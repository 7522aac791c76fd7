"""Find the daemon and connect to it; explain what is in the way; hand no text to an impostor in its place.

Every start of `upperctl` imports this, so what is large or seldom needed is imported where it is used: `_socket` is the
part of `socket` that is written in C, and `socket` would take longer than all the rest.
"""

from __future__ import annotations

import _socket
import errno
import os
import stat

from upperd.base import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
    """The connection ended before the whole answer had come."""

    status = 76


class ReplyTimeoutError(ClientError):
    """No answer in time."""

    status = 75


def connect(path: str | None = None, tcp: str | None = None, timeout: float | None = None) -> Connection:
    """Connect to the daemon at `path` or `tcp` (HOST:PORT); with neither, at the default places.

    It blocks. `timeout`: seconds to wait for room in the daemon's queue; None: for ever. Raises ClientError.
    """
    if tcp is not None:
        return _connect_tcp(tcp, timeout)
    if path is not None:
        return _connect_unix(path, timeout)
    # Our own daemon, else the system's, else TCP, each only if its owner can be trusted with our text.
    failures: list[ClientError] = []
    for path in paths.trusted_sockets(dict(os.environ), os.geteuid()):
        try:
            connection = _connect_unix(path, timeout)
            if not paths.is_of_system(path):  # where only root can have put it
                _refuse_impostor(connection, path, {_listener_uid(connection)}, f"--socket {path}")
            return connection
        except ClientError as error:
            failures.append(error)
    address = paths.FALLBACK_TCP
    try:
        if owners := tcp_listener_owners(address):
            _refuse_impostor(None, address, owners, f"--tcp {address}")
            connection = _connect_tcp(address, timeout)
            # Asked again: another may have come in between.
            _refuse_impostor(connection, address, tcp_listener_owners(address) or {-1}, f"--tcp {address}")
            return connection
    except ClientError as error:
        failures.append(error)
    raise max(failures, key=lambda error: error.status)


_CURE_OF_ABSTRACT = (
    ", and anybody may take such a name: nothing was sent; "
    "to be trusted, a daemon of that user needs a path (--socket PATH)"
)


def _refuse_impostor(connection: Connection | None, where: str, owners: set[int], option: str = "") -> None:
    """Close the connection where a user that listens there is not trusted with our text. Raises AccessError.

    `option`: what names the place; empty: nothing makes it trusted, since any user may take such a name.
    """
    if strangers := owners - trusted_uids():
        if connection is not None:
            connection.close()
        who = "an unknown user" if min(strangers) < 0 else f"uid {min(strangers)}"
        cure = f": nothing was sent; if you trust it, say so with {option}" if option else _CURE_OF_ABSTRACT
        raise AccessError(f"{where} belongs to {who}, who is not upperd{cure}")


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


def tcp_listener_owners(host_port: str) -> set[int]:
    """The uids of all that listen on this port of this host (proc(5), /proc/net/tcp, state 0A); -1: unknown.

    A socket without inode is being closed, and would read as root's.
    """
    port = int(host_port.rpartition(":")[2])
    owners = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as file:
                rows = [line.split() for line in file.readlines()[1:]]
        except OSError:
            continue
        listening = [row for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port]
        owners |= {int(row[7]) if row[9] != "0" else -1 for row in listening}
    return owners


def _connect_unix(path: str, timeout: float | None) -> Connection:
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
        raise _explain(path, error) from None
    if paths.is_abstract(path):  # which any user may have taken, so its owner is asked for, though it was named
        _refuse_impostor(connection, path, {_listener_uid(connection)})
    return connection


def _explain(path: str, error: OSError) -> ClientError:
    if error.errno == errno.EAGAIN:
        return ReplyTimeoutError(f"{path}: no room in the queue in time: the daemon is overloaded or stuck")
    if paths.is_abstract(path):
        if error.errno != errno.ECONNREFUSED:
            return ClientError(f"{path}: {error.strerror}")
        return NoDaemonError(f"nobody listens on {path} in this network namespace: start upperd, or name its socket")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        from upperd.base import installation  # not for every `upperctl send`

        how = installation.command("start", f"upperd --socket {path}")
        return NoDaemonError(f"no socket at {path}: start upperd ({how}), or name it with --socket")
    if error.errno == errno.ECONNREFUSED:
        return NoDaemonError(f"nobody listens on {path}: a daemon that ended left it, or it is no socket; start upperd")
    if error.errno in (errno.EACCES, errno.EPERM):
        return AccessError(f"permission denied: {_obstacle(path)}")
    if error.errno == errno.EPROTOTYPE:
        return NoDaemonError(f"{path} is not a stream socket: name upperd's with --socket")
    return ClientError(f"{path}: {error.strerror}")


def _obstacle(path: str) -> str:
    """Which file keeps us out, whose it is, and what would let us in."""
    import grp
    import pwd

    obstacle = path
    while not os.access(os.path.dirname(obstacle) or "/", os.X_OK):
        obstacle = os.path.dirname(obstacle)
    try:
        status = os.stat(obstacle)
    except OSError:
        return obstacle
    owner, group = _name(pwd.getpwuid, status.st_uid), _name(grp.getgrgid, status.st_gid)
    seen = f"{obstacle} belongs to {owner}:{group}, mode {stat.S_IMODE(status.st_mode):04o}"
    if status.st_mode & stat.S_IWGRP and status.st_gid not in os.getgroups():
        return f"{seen}; join the group (usermod -aG {group} {_name(pwd.getpwuid, os.geteuid())}) and log in again"
    return f"{seen}; ask {owner}, or run as that user"


def _name(lookup: Callable[[int], Sequence[object]], number: int) -> str:
    """The name that the user or group has; its number where it has none."""
    try:
        return str(lookup(number)[0])
    except KeyError:
        return str(number)


def _connect_tcp(host_port: str, timeout: float | None) -> Connection:
    import socket

    host, colon, port = host_port.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 65536):
        raise ClientError(f"{host_port!r} is not HOST:PORT, such as {paths.FALLBACK_TCP}")
    try:
        connection = socket.create_connection((host.removeprefix("[").removesuffix("]"), int(port)), timeout)
    except TimeoutError:
        raise ReplyTimeoutError(f"cannot connect to {host_port} in time: is upperd there?") from None
    except OSError as error:
        raise NoDaemonError(f"cannot connect to {host_port}: {error.strerror or error}: is upperd there?") from None
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
