"""Checks and wraps the sockets that the service manager passes, from socket units and from its descriptor store."""

from __future__ import annotations

import os
import socket
import stat

from upperd.service.listeners import ActivationError, Listener, is_stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def adopt(descriptor: int, name: str) -> Listener:
    """Wrap a socket that the manager passed, from a socket unit or from its store. Raises ActivationError."""
    what = f"descriptor {descriptor} ({name}) passed by the service manager"
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError as error:
        raise ActivationError(f"{what} is not open: {error.strerror}") from None
    if not stat.S_ISSOCK(mode):
        raise ActivationError(f"{what} is not a socket")
    os.set_inheritable(descriptor, False)
    sock = socket.socket(fileno=descriptor)
    complaint = _complaint(sock)
    if complaint:
        sock.detach()
        raise ActivationError(f"{what} {complaint}")
    listener = Listener(sock, name, activated=not is_stored(name))
    listener.is_stored = not listener.activated
    return listener


def _complaint(sock: socket.socket) -> str:
    if sock.family not in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
        return f"is of address family {int(sock.family)}, neither Unix nor TCP"
    if sock.type == socket.SOCK_DGRAM:
        return _complaint_about_datagrams(sock)
    if sock.type != socket.SOCK_STREAM:
        return f"is {sock.type.name}: it must be a stream socket (ListenStream=) or a datagram socket (ListenDatagram=)"
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "does not listen: upperd takes listening sockets (Accept=no); for a connection, start it with --inetd"
    return ""


def _complaint_about_datagrams(sock: socket.socket) -> str:
    if sock.family != socket.AF_UNIX and sock.proto != socket.IPPROTO_UDP:
        return f"is for datagrams of protocol {sock.proto}, not UDP"
    if peer_address(sock) is not None:
        return "is connected: it receives datagrams from one peer only"
    address = sock.getsockname()
    is_bound = bool(address) if sock.family == socket.AF_UNIX else address[1] != 0
    return "" if is_bound else "is not bound: no datagram can reach it"


def peer_address(sock: socket.socket) -> Any:
    """The address of the socket's peer; None if it has no peer, or if the peer is gone."""
    try:
        return sock.getpeername()
    except OSError:
        return None
