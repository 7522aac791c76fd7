"""The client library: find the daemon, and have text upper-cased by it.

    from upperd.client import Client, upper

    upper("straße")                  # one call: 'STRASSE'
    with Client() as client:         # many on one connection
        client.upper("one"); client.upper("two")

The protocol has no frames. So whoever must know that the answer is whole ends with a newline and counts newlines, as is
done here: a newline maps to a newline, and nothing else maps to one. An answer that ends short is raised as
ShortReplyError and never returned.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import select
import socket
import stat
from collections.abc import Callable, Iterator
from types import TracebackType

from upperd import paths

CHUNK = 65536
"""Bytes read or sent at once."""


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


# Finding the daemon


def connect(path: str | None = None, tcp: str | None = None) -> socket.socket:
    """Connect to the daemon at `path` or `tcp` (HOST:PORT); with neither, where one is to be expected.

    Raises ClientError.
    """
    if tcp is not None:
        return _connect_tcp(tcp)
    if path is not None:
        return _connect_unix(path)
    return _connect_default()


def _connect_default() -> socket.socket:
    """Our own daemon, else the system's, else TCP, there only if its owner can be trusted with our text."""
    uid = os.geteuid()
    failures: list[ClientError] = []
    for path in paths.trusted_sockets(dict(os.environ), uid):
        try:
            connection = _connect_unix(path)
            if path != paths.SYSTEM_SOCKET:  # which only root can have put there
                _refuse_impostor(connection, path, f"--socket {path}", {_listener_uid(connection)})
            return connection
        except ClientError as error:
            failures.append(error)
    try:
        if tcp_listener_owners(paths.FALLBACK_TCP):
            return _connect_fallback()
    except ClientError as error:
        failures.append(error)
    raise max(failures, key=lambda error: error.status)


def _connect_fallback() -> socket.socket:
    """Connect to TCP, where the owner is asked for before and after: another may have come in between."""
    address, word = paths.FALLBACK_TCP, f"--tcp {paths.FALLBACK_TCP}"
    _refuse_impostor(None, address, word, tcp_listener_owners(address))
    connection = _connect_tcp(address)
    _refuse_impostor(connection, address, word, tcp_listener_owners(address) or {-1})
    return connection


def _refuse_impostor(connection: socket.socket | None, where: str, word: str, owners: set[int]) -> None:
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


def _listener_uid(connection: socket.socket) -> int:
    """The uid of who listens at the other end of a Unix connection (unix(7), SO_PEERCRED)."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(memoryview(credentials).cast("I")[1])


def trusted_uids() -> set[int]:
    """Whose TCP listener may get our text unasked: root's, the daemon's user's, our own."""
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


def _connect_unix(path: str) -> socket.socket:
    if len(os.fsencode(path)) > paths.MAX_PATH:
        raise ClientError(f"{path}: a socket's path may have {paths.MAX_PATH} bytes")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise _explain(path, error) from None
    return connection


def _explain(path: str, error: OSError) -> ClientError:
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
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _connect_tcp(host_port: str) -> socket.socket:
    host, colon, port = host_port.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 65536):
        raise ClientError(f"{host_port!r} is not HOST:PORT, such as {paths.FALLBACK_TCP}")
    try:
        connection = socket.create_connection((host.removeprefix("[").removesuffix("]"), int(port)))
    except OSError as error:
        raise NoDaemonError(f"cannot connect to {host_port}: {error.strerror or error}: is upperd there?") from None
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


# Talking to it


class Client:
    """One connection to the daemon; a context manager."""

    def __init__(self, path: str | None = None, *, tcp: str | None = None, timeout: float | None = 30.0) -> None:
        """Connect (see `connect`). `timeout`: seconds without progress after which a call fails; None: never."""
        self._connection = connect(path, tcp)
        self._timeout = timeout

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def upper(self, text: str) -> str:
        """Return `text` in upper case. Raises ClientError; the connection is of no use after that."""
        data = text.encode("utf-8", "surrogateescape") + b"\n"
        answer = b"".join(exchange(self._connection, [data], self._timeout, data.count(b"\n")))
        return answer[:-1].decode("utf-8", "surrogateescape")


def upper(text: str, path: str | None = None, *, tcp: str | None = None, timeout: float | None = 30.0) -> str:
    """Return `text` in upper case, by a connection of its own. Raises ClientError."""
    with Client(path, tcp=tcp, timeout=timeout) as client:
        return client.upper(text)


def exchange(
    connection: socket.socket, data: list[bytes], timeout: float | None, newlines: int
) -> Iterator[bytes]:
    """Send `data`, and yield the answer until it has as many newlines as that. Raises ClientError."""
    connection.setblocking(False)
    poll = select.poll()
    unsent = [memoryview(block) for block in data]
    has_answer = False
    while newlines > 0:
        poll.register(connection, select.POLLIN | (select.POLLOUT if unsent else 0))
        if not poll.poll(None if timeout is None else timeout * 1000):
            raise ReplyTimeoutError(f"no answer within {timeout:g} s: the daemon is overloaded or stuck")
        if unsent:
            unsent = _send_some(connection, unsent)
        block = _receive_some(connection)
        if block == b"":
            raise _short(newlines, has_answer)
        if block is not None:
            has_answer = True
            newlines -= block.count(b"\n")
            yield block


def _send_some(connection: socket.socket, unsent: list[memoryview]) -> list[memoryview]:
    """Send what the kernel takes of the first block. A peer that takes no more is seen when its answer ends."""
    try:
        sent = connection.send(unsent[0][:CHUNK], socket.MSG_NOSIGNAL)
    except BlockingIOError:
        return unsent
    except ConnectionError:
        return []
    rest = unsent[0][sent:]
    return [rest, *unsent[1:]] if rest else unsent[1:]


def _receive_some(connection: socket.socket) -> bytes | None:
    """What there is: None, nothing yet; empty, the end."""
    try:
        return connection.recv(CHUNK)
    except BlockingIOError:
        return None
    except ConnectionError:
        return b""


def _short(missing: int, has_answer: bool) -> ShortReplyError:
    if not has_answer:
        return ShortReplyError(
            "the connection was closed without an answer: the daemon refuses us (its log says why: deny), or was "
            "restarted and can be asked again"
        )
    return ShortReplyError(
        f"the connection was closed early, {missing} lines of the answer are missing: the daemon was restarted or "
        "ended the connection; send it again"
    )


class Stream:
    """A stream of any length through one connection, in constant memory: from a descriptor to a function."""

    def __init__(self, connection: socket.socket, source: int, sink: Callable[[bytes], object]) -> None:
        self._connection = connection
        self._source = source
        self._sink = sink
        self._unsent: list[memoryview] = []
        self._reading = True
        self._newlines = 0
        """Sent, less received."""
        self._last = b"\n"
        self._added_newline = False
        self._held = b""
        self._has_answer = False

    def run(self) -> None:
        """Send all, half-close, and hand on the answer as it comes. Raises ShortReplyError, OSError of the source."""
        connection = self._connection
        connection.setblocking(False)
        poll = select.poll()
        while True:
            poll.register(connection, select.POLLIN | (select.POLLOUT if self._unsent else 0))
            if self._reading and not self._unsent:
                poll.register(self._source, select.POLLIN)
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._source in ready:
                poll.unregister(self._source)
                self._read_source()
            if connection.fileno() in ready and not self._step():
                break
        self._finish()

    def _read_source(self) -> None:
        block = os.read(self._source, CHUNK)
        if not block:
            self._reading = False
            if self._last == b"\n":
                self._half_close()
                return
            # Its own newline is how we know that the answer is whole; it is not handed on.
            block, self._added_newline = b"\n", True
        self._last = block[-1:]
        self._newlines += block.count(b"\n")
        self._unsent = [memoryview(block)]

    def _step(self) -> bool:
        """Send and receive what can be. False: the answer has ended."""
        if self._unsent:
            self._unsent = _send_some(self._connection, self._unsent)
            if not self._unsent and not self._reading:
                self._half_close()
        block = _receive_some(self._connection)
        if block:
            self._has_answer = True
            self._newlines -= block.count(b"\n")
            self._sink(self._held + block[:-1])
            self._held = block[-1:]
        return block != b""

    def _half_close(self) -> None:
        try:
            self._connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the peer is gone; what is missing is seen at the end

    def _finish(self) -> None:
        if self._reading or self._unsent or self._newlines:
            self._sink(self._held)
            raise _short(max(1, self._newlines), self._has_answer)
        if not self._added_newline:
            self._sink(self._held)
