"""Whose is the other end of a TCP connection on this host: the kernel is asked for its row (sock_diag(7)).

A row tells its state, the uid of who made the socket, and the socket's inode. It is believed only if it has an inode: a
socket that its process has closed has none, and reads as uid 0. One that is half-closed has: were it not believed, a
user who is denied would come in by half-closing at once. Then our own end's row must be there, with the inode of the
socket that we hold: so the connection still is, which nobody can have taken the place of, and the network namespace
that answers is the connection's (a listener may come from another one).

The law: this runs in a child, once for each connection, and never fails: what is not certain is UNKNOWN. So is
everything where AF_NETLINK is refused, as in the unit's sandbox. The look-up is exact, so it costs the same with
thousands of connections.
"""

from __future__ import annotations

import socket
import struct
from _socket import htons, inet_pton
from _socket import socket as BareSocket  # noqa: N812  # it is a class, whatever its name
from os import fstat

from upperd.server.layout import UNKNOWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# As plain numbers, and by names of their own: see server.py.
_AF_INET, _AF_INET6, _AF_NETLINK = int(socket.AF_INET), int(socket.AF_INET6), int(socket.AF_NETLINK)
_SOCK_RAW = int(socket.SOCK_RAW)
_MSG_DONTWAIT = int(socket.MSG_DONTWAIT)
_NETLINK_SOCK_DIAG = 4
_KERNEL = (0, 0)
_MAPPED = "::ffff:"
"""An IPv4 client of an IPv6 listener; its own socket is one of IPv4 (ipv6(7))."""

# struct nlmsghdr (netlink(7)), then struct inet_diag_req_v2 with its struct inet_diag_sockid (sock_diag(7)).
_pack_request = struct.Struct("=IHHII BBBxI HH16s16sIII").pack
_REQUEST_SIZE = 72
_SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, _IPPROTO_TCP = 20, 1, 6
_ANY = 2**32 - 1
"""Every state; no cookie."""
# Of the answer, struct inet_diag_msg after struct nlmsghdr: the state, the uid and the inode.
_unpack_row = struct.Struct("=16x xB62xII").unpack
_ROW_SIZE = 88
_HELD = (1, 4, 5, 8)
"""ESTABLISHED, FIN_WAIT1, FIN_WAIT2, CLOSE_WAIT: open, or half-closed by either end (linux/tcp_states.h)."""


def peer_uid(connection: Any) -> int:
    """The uid of who made the socket at the other end of `connection`, an accepted TCP one; UNKNOWN: not certain."""
    try:
        here, there = connection.getsockname(), connection.getpeername()
        if not _is_loopback(there[0]):
            return UNKNOWN
        kernel = BareSocket(_AF_NETLINK, _SOCK_RAW, _NETLINK_SOCK_DIAG)
        try:
            kernel.connect(_KERNEL)
            uid = _owner(kernel, there, here)[0]
            if _owner(kernel, here, there)[1] != fstat(connection.fileno()).st_ino:
                return UNKNOWN
            return uid
        finally:
            kernel.close()
    except OSError:
        return UNKNOWN


def _is_loopback(host: str) -> bool:
    return host == "::1" or host.removeprefix(_MAPPED).startswith("127.")


def _owner(kernel: BareSocket, end: Any, other_end: Any) -> tuple[int, int]:
    """The uid and the inode of the socket at `end`, connected to `other_end`; UNKNOWN and 0: none."""
    family, address = _binary(end[0])
    _, other_address = _binary(other_end[0])
    kernel.send(
        _pack_request(
            *(_REQUEST_SIZE, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, 0, 0),
            *(family, _IPPROTO_TCP, 0, _ANY),
            *(htons(end[1]), htons(other_end[1]), address, other_address, 0, _ANY, _ANY),
        )
    )
    # The kernel has answered by now. What does not fit is left out; an error is shorter.
    answer = kernel.recv(_ROW_SIZE, _MSG_DONTWAIT)
    if len(answer) == _ROW_SIZE:
        state, uid, inode = _unpack_row(answer)
        if state in _HELD and inode != 0:
            return uid, inode
    return UNKNOWN, 0


def _binary(host: str) -> tuple[int, bytes]:
    """The family and the bytes of an address."""
    host = host.removeprefix(_MAPPED)
    family = _AF_INET6 if ":" in host else _AF_INET
    return family, inet_pton(family, host)
