"""The peer of a connection, as far as the kernel vouches for it."""

from __future__ import annotations

import errno
import os
import socket
import struct

from upperd.server.layout import UNKNOWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

Peer = tuple[int, int, int]
"""uid, gid and pid of a peer when it connected; UNKNOWN if the kernel does not say."""
NOT_KNOWN: Peer = UNKNOWN, UNKNOWN, UNKNOWN


class PeerInfo:
    """The peer, as a handler sees it: numbers that the kernel vouches for; None: unknown.

    They are those of the moment when the peer connected (unix(7), SO_PEERCRED, SO_PEERGROUPS).
    """

    __slots__ = ("gid", "groups", "pid", "uid")

    def __init__(self, peer: Peer, groups: list[int] | None = None) -> None:
        """`groups`: the supplementary groups; None: unknown."""
        self.uid = peer[0] if is_known(peer[0]) else None
        self.gid = None if self.uid is None or peer[1] == UNKNOWN else peer[1]
        self.pid = None if peer[2] in (UNKNOWN, 0) else peer[2]
        known = groups is not None and self.gid is not None
        self.groups = frozenset((self.gid, *(groups or ()))) if known else None
        """All groups, `gid` included."""

    def __repr__(self) -> str:
        return f"PeerInfo(uid={self.uid}, gid={self.gid}, pid={self.pid}, groups={self.groups})"


_SOL_SOCKET, _SO_PEERCRED = int(socket.SOL_SOCKET), int(socket.SO_PEERCRED)
CREDENTIALS = struct.Struct("=iII")
"""struct ucred (unix(7)): pid, uid, gid."""
_SO_PEERGROUPS = 59
"""From asm-generic/socket.h, since Linux 4.13; Python has no name for it."""
_MOST_BY_PYTHON = 1024
"""Bytes of the largest buffer of socket.getsockopt()."""
_MOST_GROUPS = 65536
"""NGROUPS_MAX in linux/limits.h."""

_NETLINK_SOCK_DIAG = 4
_KERNEL = (0, 0)
"""The kernel's address: a socket connected to it receives from no other process (netlink(7))."""
_MAPPED = "::ffff:"
"""An IPv4 client of an IPv6 listener; its own socket is one of IPv4 (ipv6(7))."""

_HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr (netlink(7)): length, type, flags, sequence number, port."""
_REQUEST = struct.Struct("=BBBxI36sIII")
"""struct inet_diag_req_v2 (sock_diag(7)): family, protocol, extensions, states, addresses, interface, cookie."""
_ADDRESSES = struct.Struct("!HH16s16s")
"""Ports and addresses, ours first (struct inet_diag_sockid)."""
_ROW = struct.Struct("=4xHxxI4x xB62xII")
"""Of the answer, struct inet_diag_msg after struct nlmsghdr: type, sequence number, state, uid, inode."""
_SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST = 20, 1
_ANY = 2**32 - 1
"""Every state; no cookie."""
_HELD = (1, 4, 5, 8)
"""ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT: open, or half-closed by either end (linux/tcp_states.h)."""


def of_unix(connection: Any) -> Peer:
    """The peer of a connected Unix socket (unix(7), SO_PEERCRED)."""
    pid, uid, gid = CREDENTIALS.unpack(connection.getsockopt(_SOL_SOCKET, _SO_PEERCRED, CREDENTIALS.size))
    return uid, gid, pid


def groups(connection: Any) -> list[int]:
    """The supplementary groups of a Unix peer when it connected; empty if the kernel does not say (TCP).

    SO_PEERGROUPS, a list of gid_t (Linux, net/core/sock.c, sk_getsockopt).
    """
    try:
        found = connection.getsockopt(_SOL_SOCKET, _SO_PEERGROUPS, _MOST_BY_PYTHON)
    except OSError as error:
        if error.errno != errno.ERANGE:
            return []
        found = _many_groups(connection.fileno())
    return memoryview(found).cast("I").tolist()


def _many_groups(descriptor: int) -> bytes:
    """The same for a peer with more than 256 groups, more than socket.getsockopt() can return."""
    import ctypes  # rare, and large

    size = ctypes.c_uint(_MOST_GROUPS * 4)
    buffer = ctypes.create_string_buffer(size.value)
    if ctypes.CDLL(None).getsockopt(descriptor, _SOL_SOCKET, _SO_PEERGROUPS, buffer, ctypes.byref(size)) != 0:
        return b""
    return buffer.raw[: size.value]


def _overflow_uid() -> int:
    """The uid that stands for every user whom this user namespace does not know (user_namespaces(7))."""
    try:
        with open("/proc/sys/kernel/overflowuid") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 65534


NOBODY = _overflow_uid()


def is_known(uid: int) -> bool:
    """Whether this uid stands for one user: the overflow uid stands for several."""
    return uid not in (UNKNOWN, NOBODY)


class PeerLookup:
    """Whose is the other end of a TCP connection on this host: the kernel is asked for its row (sock_diag(7)).

    A row tells the socket's state, the uid of the user that made it, and its inode. It is believed only if it has an
    inode: a socket that its process has closed has none, and reads as uid 0. A half-closed one has: were it not
    believed, a user that is denied would come in by half-closing at once. Then our own end's row must be there, with
    the inode of the socket that we hold: so the connection still stands, no other can have taken its place, and the
    network namespace that answers is the connection's. (A netlink socket asks the one in which it was made.)

    It never waits and never fails: what is not certain is UNKNOWN, and everything where AF_NETLINK is refused, as in
    the unit's sandbox. Each look-up is exact, so it costs the same with thousands of connections.
    """

    def __init__(self) -> None:
        self._kernel: socket.socket | None = None
        self._sequence = 0

    def uid(self, connection: socket.socket) -> int:
        """The uid that made the other end of an accepted TCP connection; UNKNOWN: not certain, or not on this host."""
        try:
            here, there = connection.getsockname(), connection.getpeername()
            if not _is_loopback(there[0]):
                return UNKNOWN
            inode = os.fstat(connection.fileno()).st_ino
        except OSError:
            return UNKNOWN
        try:
            (uid, peer_inode), (_, our_inode) = self._ask(here, there)
        except OSError:
            self.close()  # the next connection has a new one
            return UNKNOWN
        return uid if peer_inode and our_inode == inode else UNKNOWN

    def descriptors(self) -> list[int]:
        return [] if self._kernel is None else [self._kernel.fileno()]

    def close(self) -> None:
        """Close the netlink socket. A later question makes a new one."""
        if self._kernel is not None:
            self._kernel.close()
            self._kernel = None

    def _ask(self, here: tuple[str, int], there: tuple[str, int]) -> list[tuple[int, int]]:
        """The uid and inode of the socket at `there`, then of ours at `here`; zeros: there is none. Raises OSError."""
        if self._kernel is None:
            self._kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _NETLINK_SOCK_DIAG)
            self._kernel.connect(_KERNEL)
        our_host, peer_host = here[0].removeprefix(_MAPPED), there[0].removeprefix(_MAPPED)
        family = socket.AF_INET6 if ":" in peer_host else socket.AF_INET
        ours, theirs = socket.inet_pton(family, our_host), socket.inet_pton(family, peer_host)
        first = self._sequence + 1 & _ANY
        second = self._sequence = first + 1 & _ANY
        # In this order, which the kernel keeps: our row proves that the peer's was the one that we are connected to.
        self._kernel.send(
            _request(first, family, _ADDRESSES.pack(there[1], here[1], theirs, ours))
            + _request(second, family, _ADDRESSES.pack(here[1], there[1], ours, theirs))
        )
        return [self._receive(self._kernel, first), self._receive(self._kernel, second)]

    def _receive(self, kernel: socket.socket, sequence: int) -> tuple[int, int]:
        """The uid and the inode in the answer to this request; zeros: there is no such socket. Raises OSError.

        The kernel has answered before send() returns. What stands before the answer is left of a failed exchange.
        """
        while True:
            # What does not fit is left out. A refusal has another type, and may be shorter.
            answer = kernel.recv(_ROW.size).ljust(_ROW.size, b"\0")
            kind, answered, state, uid, inode = _ROW.unpack(answer)
            if answered == sequence:
                return (uid, inode) if kind == _SOCK_DIAG_BY_FAMILY and state in _HELD else (0, 0)


def _request(sequence: int, family: int, addresses: bytes) -> bytes:
    size = _HEADER.size + _REQUEST.size
    header = _HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, sequence, 0)
    return header + _REQUEST.pack(family, socket.IPPROTO_TCP, 0, _ANY, addresses, 0, _ANY, _ANY)


def _is_loopback(host: str) -> bool:
    return host == "::1" or host.removeprefix(_MAPPED).startswith("127.")
