"""Listening on TCP and UDP: on this host's loopback addresses, unless the operator says otherwise.

As for a path: a listener is either taken out of the manager's descriptor store or bound anew.
"""

from __future__ import annotations

import errno
import socket
import struct

from upperd.service import store
from upperd.service.listeners import BACKLOG, Listener, ListenerError, prepare_for_datagrams

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


_SO_ATTACH_FILTER = 26
"""Of socket(7); not in Python."""
_DROP_NEWCOMERS = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # load the flags of the TCP header (RFC 9293, 3.1)
        (0x45, 0, 1, 0x02),  # is it a SYN?
        (0x06, 0, 0, 0),  # drop it
        (0x06, 0, 0, 2**32 - 1),  # take it
    )
)
"""A filter of the kernel (struct sock_filter, linux/filter.h)."""


def turn_away(listener: Listener) -> None:
    """Let nobody new into the queue of a TCP listener that ends with us, so that the queue can be served to its end.

    Closing it resets who is queued, and there is always somebody, where many come. So the kernel drops the first packet
    of who comes now; it is sent again a second later (tcp(7), tcp_syn_retries), and finds nobody, or the next daemon.
    """
    from array import array

    if listener.is_unix or listener.is_datagram or listener.activated or listener.is_stored:
        return
    code = array("B", _DROP_NEWCOMERS)
    address, size = code.buffer_info()
    try:
        listener.socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", size // 8, address))
    except OSError:
        return  # then its queue is served for a moment (see daemon.py)
    listener.turns_away = True
