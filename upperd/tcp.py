"""Listening on TCP and UDP: on this host's loopback addresses, unless the operator says otherwise.

As for a path: a listener is either taken out of the manager's descriptor store or bound anew.
"""

from __future__ import annotations

import errno
import socket

from upperd import store
from upperd.listeners import BACKLOG, Listener, ListenerError, prepare_for_datagrams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping

_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""A host need not have both families."""


def bind_tcp(
    host_port: str, stored: MutableMapping[str, Listener] | None = None, *, allow_remote: bool = False,
    kind: socket.SocketKind = socket.SOCK_STREAM,
) -> list[Listener]:
    """Listen on every address that HOST:PORT names: by one of `stored`, else anew. Raises ListenerError.

    `allow_remote`: they need not be loopback ones. `kind`: SOCK_DGRAM has it be UDP.
    """
    is_datagram = kind == socket.SOCK_DGRAM
    protocol = "udp" if is_datagram else "tcp"
    host, _, port = host_port.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        found = socket.getaddrinfo(host or None, port, type=kind, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ListenerError(f"{host_port}: {error}", errno.EADDRNOTAVAIL) from None
    listeners: list[Listener] = []
    failure: OSError | None = None
    if not allow_remote:
        for *_, address in found:
            _refuse_remote(protocol, host_port, str(address[0]))
    for family, _, _, _, address in dict.fromkeys(found):
        if listeners and int(port) == 0:
            # The port that the kernel chose for the first is meant for all.
            address = (address[0], listeners[0].socket.getsockname()[1], *address[2:])
        try:
            name = store.address_name(*address[:2], is_datagram=is_datagram)
            listener = stored.pop(name, None) if stored else None
            listeners.append(listener or _bind_address(family, kind, address))
        except OSError as error:
            failure = error
            if error.errno not in _NOT_HERE:
                break
    if not listeners or (failure and failure.errno not in _NOT_HERE):
        for listener in listeners:
            listener.close()
        reason = failure.strerror if failure else "no address"
        number = failure.errno if failure else errno.EADDRNOTAVAIL
        text = f"cannot listen on {protocol}:{host_port}: {reason}: choose another with --{protocol}"
        raise ListenerError(text, number)
    return listeners


def _bind_address(family: int, kind: socket.SocketKind, address: tuple[object, ...]) -> Listener:
    sock = socket.socket(family, kind)
    is_datagram = kind == socket.SOCK_DGRAM
    try:
        if is_datagram:
            prepare_for_datagrams(sock)
        else:  # with UDP two could have the port by it (socket(7))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        if not is_datagram:
            sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return Listener(sock)


def is_remote(host: str) -> bool:
    """Whether others than this host can reach this address."""
    return not (host.startswith("127.") or host == "::1")


def _refuse_remote(protocol: str, host_port: str, host: str) -> None:
    if is_remote(host):
        unit = "ListenDatagram=" if protocol == "udp" else "ListenStream="
        raise ListenerError(
            f"{protocol}:{host_port} is {host}, not a loopback address, so other hosts could connect: if they are to, "
            f"say so with --tcp-allow-remote, or have systemd pass a socket ({unit})"
        )
