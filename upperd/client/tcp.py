"""Connects to the daemon by TCP: to an address that was named, or to the default one if its listener is trusted.

Any user may listen on a port. So before anything is sent to the default address, the kernel's table of TCP sockets is
asked for the owner of the other end of this very connection, by the addresses and ports of both ends. While the
connection stands, exactly one row matches, so a change of listeners cannot mislead the check.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from time import monotonic

from upperd.base import loopback, paths
from upperd.client.finding import AccessError, ClientError, NoDaemonError, ReplyTimeoutError, refuse_impostor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from upperd.client.finding import Connection

_TABLES = {socket.AF_INET: "/proc/net/tcp", socket.AF_INET6: "/proc/net/tcp6"}
_MAPPED = bytes(10) + b"\xff\xff"
"""The prefix of an IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2)."""
FIRST_LOOK, LONGEST_LOOK = 0.001, 0.05
"""Seconds between two looks at the table: the first pause, and the longest."""


def connect_named(host_port: str, timeout: float | None) -> Connection:
    """Connect to HOST:PORT, whichever user listens there. `timeout`: seconds; None: until the kernel gives up."""
    failure: ClientError | None = None
    for family, address in _addresses(host_port):
        try:
            return _connect(family, address, host_port, timeout)
        except ClientError as error:
            failure = error
    raise failure or NoDaemonError(f"{host_port} has no address")


def connect_trusted(host_port: str, timeout: float | None) -> Connection:
    """Connect to the first address of HOST:PORT at which a trusted user holds the other end. Raises ClientError."""
    failures: list[ClientError] = []
    for family, address in _addresses(host_port):
        try:
            connection = _connect(family, address, host_port, timeout)
            owner = _owner(connection, family, host_port, timeout)
            refuse_impostor(connection, host_port, owner, f"--tcp {host_port}")
            return connection
        except ClientError as error:
            failures.append(error)
    raise max(failures, key=lambda error: error.status, default=NoDaemonError(f"{host_port} has no address"))


def _addresses(host_port: str) -> list[tuple[socket.AddressFamily, Any]]:
    host, colon, port = host_port.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 65536):
        raise ClientError(f"{host_port!r} is not HOST:PORT, such as {paths.FALLBACK_TCP}")
    try:
        found = socket.getaddrinfo(host.removeprefix("[").removesuffix("]"), int(port), 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        if loopback.is_localhost(host):  # there is neither a resolver nor /etc/hosts
            return [*loopback.addresses(int(port))]
        reason = getattr(error, "strerror", None) or "not a host name"
        raise NoDaemonError(f"cannot resolve {host_port}: {reason}") from None
    return [(family, address) for family, _, _, _, address in found]


def _connect(family: socket.AddressFamily, address: Any, host_port: str, timeout: float | None) -> Connection:
    try:
        connection = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise NoDaemonError(f"cannot connect to {host_port}: {error.strerror}") from None
    try:
        connection.settimeout(timeout)
        connection.connect(address)
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        connection.close()
        if isinstance(error, TimeoutError) and error.errno is None:  # our time-out; ETIMEDOUT is the network's
            raise ReplyTimeoutError(f"cannot connect to {host_port} in time: is upperd running there?") from None
        raise NoDaemonError(f"cannot connect to {host_port}: {error.strerror}: is upperd running there?") from None
    return connection


def _owner(connection: Connection, family: socket.AddressFamily, host_port: str, timeout: float | None) -> int:
    """The uid that holds the other end, which has no owner until it is accepted: wait for that.

    Closes the connection and raises ClientError if the owner cannot be determined.
    """
    began, pause = monotonic(), FIRST_LOOK
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    try:
        while True:
            if (owner := _holder(family, connection.getpeername(), connection.getsockname())) is not None:
                return owner
            if poll.poll(0):
                raise NoDaemonError(f"{host_port} closed the connection at once: nothing was sent")
            if timeout is not None and monotonic() - began >= timeout:
                raise ReplyTimeoutError(f"{host_port} did not accept the connection in time: nothing was sent")
            poll.poll(pause * 1000)
            pause = min(2 * pause, LONGEST_LOOK)
    except BaseException as error:
        connection.close()
        if isinstance(error, OSError):
            cure = f"nothing was sent; if you trust it, use --tcp {host_port}"
            reason = "/proc is not mounted" if not os.path.exists("/proc/net") else error.strerror
            raise AccessError(f"cannot tell which user owns {host_port} ({reason}): {cure}") from None
        raise


def _holder(family: socket.AddressFamily, local: Any, remote: Any) -> int | None:
    """The uid that holds the socket with these two ends (proc(5), /proc/net/tcp); None: there is none yet.

    Raises OSError. Rows without an inode are skipped: not accepted yet, or closed, and shown as owned by root.
    """
    ours, theirs = (socket.inet_pton(family, end[0].partition("%")[0]) for end in (local, remote))
    ends = [(family, ours, theirs)]
    if family == socket.AF_INET:  # the listener may serve both families
        ends.append((socket.AF_INET6, _MAPPED + ours, _MAPPED + theirs))
    for table, here, there in ends:
        wanted = [f"{_hex(here)}:{local[1]:04X}", f"{_hex(there)}:{remote[1]:04X}"]
        try:
            with open(_TABLES[table], encoding="ascii") as file:
                rows = [line.split() for line in file if wanted[0] in line]
        except FileNotFoundError:
            if table == family:
                raise
            continue  # a kernel without IPv6
        for row in rows:
            if row[1:3] == wanted and row[9] != "0":
                return int(row[7])
    return None


def _hex(address: bytes) -> str:
    """The address as the table shows it: 32-bit words in host byte order."""
    words = (int.from_bytes(address[at : at + 4], sys.byteorder) for at in range(0, len(address), 4))
    return "".join(f"{word:08X}" for word in words)
