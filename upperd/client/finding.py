"""Find the daemon and connect to it; explain what is in the way; hand no text to who only stands in its place.

Every start of `upperctl` imports this, so what is large or seldom needed is imported where it is: `_socket` is the part
of `socket` that is not written in Python, and `socket` would take longer than all the rest.
"""

from __future__ import annotations

import _socket
import errno
import os
import stat

from upperd.base import paths

Connection = _socket.socket


class ClientError(Exception):
    """A call failed. The text says what is wrong and what to do; `status` is the exit status for it (sysexits(3))."""

    status = 69


class NoDaemonError(ClientError):
    """Nobody serves at the address."""


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
    """Connect to the daemon at `path` or `tcp` (HOST:PORT); with neither, where one is to be expected.

    It blocks. `timeout`: seconds to wait for room in the daemon's queue; None: for ever. Raises ClientError.
    """
    if tcp is not None:
        return _connect_tcp(tcp, timeout)
    if path is not None:
        return _connect_unix(path, timeout)
    return _connect_default(timeout)


def _connect_default(timeout: float | None) -> Connection:
    """Our own daemon, else the system's, else TCP, there only if its owner can be trusted with our text."""
    uid = os.geteuid()
    failures: list[ClientError] = []
    for path in paths.trusted_sockets(dict(os.environ), uid):
        try:
            connection = _connect_unix(path, timeout)
            if path != paths.SYSTEM_SOCKET:  # which only root can have put there
                _refuse_impostor(connection, path, f"--socket {path}", {_listener_uid(connection)})
            return connection
        except ClientError as error:
            failures.append(error)
    try:
        if tcp_listener_owners(paths.FALLBACK_TCP):
            return _connect_fallback(timeout)
    except ClientError as error:
        failures.append(error)
    raise max(failures, key=lambda error: error.status)


def _connect_fallback(timeout: float | None) -> Connection:
    """Connect to TCP, where the owner is asked for before and after: another may have come in between."""
    address, word = paths.FALLBACK_TCP, f"--tcp {paths.FALLBACK_TCP}"
    _refuse_impostor(None, address, word, tcp_listener_owners(address))
    connection = _connect_tcp(address, timeout)
    _refuse_impostor(connection, address, word, tcp_listener_owners(address) or {-1})
    return connection


def _refuse_impostor(connection: Connection | None, where: str, word: str, owners: set[int]) -> None:
    """Close the connection where one who listens there is not to be trusted with our text. Raises AccessError."""
    strangers = owners - trusted_uids()
    if not strangers:
        return
    if connection is not None:
        connection.close()
    who = "an unknown user" if min(strangers) < 0 else f"uid {min(strangers)}"
    raise AccessError(
        f"{where} belongs to {who}, who is not upperd: nothing was sent; if you trust it, say so with {word}"
    )


def _listener_uid(connection: Connection) -> int:
    """The uid of who listens at the other end of a Unix connection (unix(7), SO_PEERCRED)."""
    credentials = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return int(memoryview(credentials).cast("I")[1])


def trusted_uids() -> set[int]:
    """Whose TCP listener may get our text unasked: root's, the daemon's user's, our own."""
    import pwd

    trusted = {0, os.geteuid()}
    try:
        trusted.add(pwd.getpwnam("upperd").pw_uid)
    except KeyError:
        pass
    return trusted


def tcp_listener_owners(host_port: str) -> set[int]:
    """The uids of all who listen on this port of this host (proc(5), /proc/net/tcp, state 0A); -1: unknown.

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
    if paths.is_abstract(path):
        return _connect_abstract(path, timeout)
    if len(os.fsencode(path)) > paths.MAX_PATH:
        raise ClientError(f"{path}: a socket's path may have {paths.MAX_PATH} bytes")
    return _connect_to(path, timeout)


def _connect_abstract(name: str, timeout: float | None) -> Connection:
    """Connect to @NAME, which anybody may have taken: so its owner is asked for, though it was named."""
    if complaint := paths.complaint_about(name):
        raise ClientError(f"{name}: {complaint}; a path that begins with @ is ./@...")
    connection = _connect_to(name, timeout)
    uid = _listener_uid(connection)
    if uid not in trusted_uids():
        connection.close()
        raise AccessError(
            f"{name} belongs to uid {uid}, who is not upperd, and anybody may take such a name: nothing was sent; "
            "to be trusted, a daemon of that user needs a path (--socket PATH)"
        )
    return connection


def _connect_to(socket: str, timeout: float | None) -> Connection:
    connection = Connection(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        if timeout is not None:
            _limit_connect(connection, timeout)
        connection.connect(paths.address_of(socket))
    except OSError as error:
        connection.close()
        raise _explain(socket, error) from None
    return connection


def _limit_connect(connection: Connection, seconds: float) -> None:
    """A connect waits that long for room in the queue.

    By the kernel's own limit (unix(7), SO_SNDTIMEO): one that does not block fails at once where the queue is full.
    """
    import struct

    limit = struct.pack("@ll", *divmod(max(1, int(seconds * 1e6)), 1_000_000))  # 0 would be: no limit
    connection.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, limit)


def _explain(path: str, error: OSError) -> ClientError:
    if error.errno == errno.EAGAIN:
        return ReplyTimeoutError(f"{path}: no room in the queue in time: the daemon is overloaded or stuck")
    if paths.is_abstract(path):
        if error.errno != errno.ECONNREFUSED:
            return ClientError(f"{path}: {error.strerror}")
        return NoDaemonError(f"nobody listens on {path} in this network namespace: start upperd, or name its socket")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return NoDaemonError(f"no socket at {path}: start upperd (systemctl start upperd), or name it with --socket")
    if error.errno == errno.ECONNREFUSED and not _is_socket(path):
        return NoDaemonError(f"{path} is not a socket: name upperd's with --socket")
    if error.errno == errno.ECONNREFUSED:
        return NoDaemonError(f"nobody listens on {path}: it is left of a daemon that ended; start it again")
    if error.errno in (errno.EACCES, errno.EPERM):
        return AccessError(f"permission denied: {_obstacle(path)}")
    if error.errno == errno.EPROTOTYPE:
        return NoDaemonError(f"{path} is not a stream socket: name upperd's with --socket")
    return ClientError(f"{path}: {error.strerror}")


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return True  # it was one a moment ago


def _obstacle(path: str) -> str:
    """Which file keeps us out, whose it is, and what would let us in."""
    obstacle = path
    while not os.access(os.path.dirname(obstacle) or "/", os.X_OK):
        obstacle = os.path.dirname(obstacle)
    try:
        status = os.stat(obstacle)
    except OSError:
        return obstacle
    owner, group = _user_name(status.st_uid), _group_name(status.st_gid)
    seen = f"{obstacle} belongs to {owner}:{group}, mode {stat.S_IMODE(status.st_mode):04o}"
    if status.st_mode & stat.S_IWGRP and status.st_gid not in os.getgroups():
        return f"{seen}; join the group (usermod -aG {group} {_user_name(os.geteuid())}) and log in again"
    return f"{seen}; ask {owner}, or run as that user"


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


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
