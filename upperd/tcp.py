"""Listening on TCP: on this host's loopback addresses, unless the operator says otherwise.

As for a path: a listener is either taken out of the manager's descriptor store or bound anew.
"""

from __future__ import annotations

import errno
import socket

from upperd import store
from upperd.listeners import BACKLOG, Listener, ListenerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping

_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""A host need not have both families."""


def bind_tcp(
    host_port: str, stored: MutableMapping[str, Listener] | None = None, *, allow_remote: bool = False
) -> list[Listener]:
    """Listen on every address that HOST:PORT names: by one of `stored`, else anew. Raises ListenerError.

    `allow_remote`: they need not be loopback ones.
    """
    host, _, port = host_port.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ListenerError(f"{host_port}: {error}", errno.EADDRNOTAVAIL) from None
    listeners: list[Listener] = []
    failure: OSError | None = None
    if not allow_remote:
        for *_, address in found:
            _refuse_remote(host_port, str(address[0]))
    for family, _, _, _, address in dict.fromkeys(found):
        if listeners and int(port) == 0:
            # The port that the kernel chose for the first is meant for all.
            address = (address[0], listeners[0].socket.getsockname()[1], *address[2:])
        try:
            listener = stored.pop(store.address_name(*address[:2]), None) if stored else None
            listeners.append(listener or _bind_address(family, address))
        except OSError as error:
            failure = error
            if error.errno not in _NOT_HERE:
                break
    if not listeners or (failure and failure.errno not in _NOT_HERE):
        for listener in listeners:
            listener.close()
        reason = failure.strerror if failure else "no address"
        number = failure.errno if failure else errno.EADDRNOTAVAIL
        raise ListenerError(f"cannot listen on tcp:{host_port}: {reason}: choose another with --tcp", number)
    return listeners


def _bind_address(family: int, address: tuple[object, ...]) -> Listener:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return Listener(sock)


def is_remote(host: str) -> bool:
    """Whether others than this host can reach this address."""
    return not (host.startswith("127.") or host == "::1")


def _refuse_remote(host_port: str, host: str) -> None:
    if is_remote(host):
        raise ListenerError(
            f"tcp:{host_port} is {host}, not a loopback address, so other hosts could connect: if they are to, say so "
            "with --tcp-allow-remote, or have systemd pass a socket (ListenStream=)"
        )
