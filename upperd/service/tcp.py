"""Listens on TCP and UDP: on this host's loopback addresses, unless the operator allows others."""

from __future__ import annotations

import errno
import socket
from time import monotonic

from upperd.base import loopback
from upperd.base.paths import FALLBACK_TCP
from upperd.server.layout import UNKNOWN
from upperd.server.peer import PeerLookup
from upperd.service.binding import bind_socket
from upperd.service.listeners import Listener, ListenerError, take_stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from upperd.service.listeners import Stored

_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""Errors of an address family that this host does not have."""


def bind_tcp(
    host_port: str,
    stored: Stored | None = None,
    *,
    allow_remote: bool = False,
    kind: socket.SocketKind = socket.SOCK_STREAM,
    is_named: bool = True,
) -> list[Listener]:
    """Listen on every address of HOST:PORT, with the listener in `stored` or a new one. Raises ListenerError.

    `allow_remote`: other hosts may reach them. `kind`: SOCK_DGRAM for UDP. `is_named`: the operator chose HOST:PORT.
    """
    protocol = "udp" if kind == socket.SOCK_DGRAM else "tcp"
    found = _resolve(host_port, kind)
    remote = [address[0] for _, address in found if is_remote(address[0])]
    if remote and not allow_remote:
        unit = "ListenDatagram=" if kind == socket.SOCK_DGRAM else "ListenStream="
        raise ListenerError(
            f"{protocol}:{host_port} is {remote[0]}, not a loopback address, so other hosts could connect: allow "
            f"that with --tcp-allow-remote, or have systemd pass a socket ({unit})"
        )
    listeners: list[Listener] = []
    failure = OSError(errno.EADDRNOTAVAIL, "no address")
    for family, address in found:
        if listeners and address[1] == 0:  # every address gets the port that the kernel chose for the first
            address = (address[0], listeners[0].socket.getsockname()[1], *address[2:])
        try:
            listener = take_stored(stored, address, kind) or Listener(bind_socket(family, kind, address))
            listeners.append(listener)
            listener.listen()
        except OSError as error:
            failure = error
            if error.errno not in _NOT_HERE:
                for listener in listeners:
                    listener.close()
                listeners = []
                break
    if not listeners:
        cure = f": choose another with --{protocol}" * is_named
        if failure.errno == errno.EAFNOSUPPORT:
            unit = "an upperd-datagram.socket of your own" if kind == socket.SOCK_DGRAM else "upperd-tcp.socket"
            cure = f": the unit forbids it (RestrictAddressFamilies=): leave it out, and enable {unit}"
        raise ListenerError(f"cannot listen on {protocol}:{host_port}: {failure.strerror}{cure}", failure.errno)
    return listeners


def bind_fallback(host_port: str, reason: ListenerError, stored: Stored | None = None) -> list[Listener]:
    """Listen on HOST:PORT because the default path cannot be used, for this `reason`. Raises ListenerError.

    TCP has no file permissions, so only root and our own user may connect, unless a rule allows others. If the kernel
    does not tell the users of clients, the fallback would refuse all of them, so it is an error.
    """
    try:
        listeners = bind_tcp(host_port, stored, is_named=False)
    except ListenerError as error:
        raise ListenerError(f"{reason}; the fallback failed: {error}", error.errno) from None
    if not _knows_users():
        for listener in listeners:
            listener.close()
        text = f"{reason}; {host_port} cannot replace it: the kernel does not say which user connects (sock_diag(7))"
        raise ListenerError(text, errno.EACCES)
    for listener in listeners:
        listener.is_private = True
    return listeners


def _knows_users() -> bool:
    """Whether the kernel tells which user owns a TCP connection. It does not if AF_NETLINK is refused."""
    lookup = PeerLookup()
    try:
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
            accepted, _ = server.accept()
            with accepted:
                return lookup.uid(accepted) != UNKNOWN
    except OSError:
        return False
    finally:
        lookup.close()


def _resolve(host_port: str, kind: socket.SocketKind) -> list[tuple[int, Any]]:
    """The families and addresses of HOST:PORT, as socket.bind() takes them. Raises ListenerError."""
    host, _, port = host_port.rpartition(":")
    if loopback.is_localhost(host):
        return [*loopback.addresses(int(port))]
    host = host.removeprefix("[").removesuffix("]")
    try:
        found = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        cure = f"name an address of this host, such as {FALLBACK_TCP}"
        raise ListenerError(f"{host_port}: {reason}: {cure}", errno.EADDRNOTAVAIL) from None
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def is_remote(host: str) -> bool:
    """Whether other hosts may reach this address: it is no loopback address."""
    return not (host.startswith("127.") or host == "::1")


_SO_BINDTOIFINDEX = 62
"""From asm-generic/socket.h, since Linux 5.1 (socket(7) has SO_BINDTODEVICE); Python has no name for it."""
_NO_INTERFACE = 2**31 - 1
_TABLES = ("/proc/self/net/tcp", "/proc/self/net/tcp6")
HANDSHAKE_SECONDS = 3.0
"""The longest wait for a handshake to end. A lost packet is sent again after one second."""


def turn_away(listener: Listener) -> OSError | None:
    """Keep new clients out of the backlog of a TCP listener that ends with us, so that it can be served to its end.

    Closing the listener would reset the connections in its backlog. So it is bound to a network interface that does not
    exist: the kernel refuses new clients, while accepted and queued connections, and handshakes under way, go on.
    Returns the error if the kernel does not do that; then new clients still get in.
    """
    if listener.is_unix or listener.is_datagram or listener.activated or listener.is_stored:
        return None
    try:
        listener.socket.setsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX, _NO_INTERFACE)
    except OSError as error:
        return error
    listener.turns_away = True
    return None


def handshakes(listeners: list[Listener]) -> Callable[[], bool]:
    """Return a function that tells, for HANDSHAKE_SECONDS, whether a handshake with one of them is under way.

    Closing the listener would reset that client, too. Such rows are in state 3, SYN_RECV (proc(5), /proc/net/tcp).
    """
    ports = tuple(f":{x.socket.getsockname()[1]:04X}" for x in listeners if x.turns_away)
    end = monotonic() + HANDSHAKE_SECONDS
    return lambda: bool(ports) and monotonic() < end and any(_has_handshake(table, ports) for table in _TABLES)


def _has_handshake(table: str, ports: tuple[str, ...]) -> bool:
    try:
        with open(table, encoding="ascii") as file:
            return any(row[1].endswith(ports) and row[3] == "03" for row in map(str.split, file))
    except OSError:
        return False  # a kernel without IPv6, or no /proc
