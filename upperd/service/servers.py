"""The daemon's servers: PreforkingMixIn with a listener that is already open, and with the daemon's policy."""

from __future__ import annotations

import socket
import socketserver
import sys

from upperd.server.failure import report
from upperd.server.layout import UNKNOWN
from upperd.server.mixin import PreforkingMixIn
from upperd.server.peer import PeerLookup
from upperd.server.session import is_gone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from upperd.server.peer import Peer
    from upperd.service.listeners import Listener
    from upperd.service.loading import Handlers
    from upperd.service.policy import Policy

_NO_LINGER = bytes(8)
"""struct linger (socket(7)), switched off."""


class DaemonServer(PreforkingMixIn):
    """What the daemon's servers share."""

    def __init__(self, listener: socket.socket, handler: Any, policy: Policy, *, is_private: bool = False) -> None:
        """Serve the listening socket `listener`, for the peers that `policy` admits."""
        # Not TCPServer's constructor, which makes a socket of its own and binds it.
        socketserver.BaseServer.__init__(self, listener.getsockname(), handler)
        self.socket = listener
        self.address_family = int(listener.family)
        self.prepare()
        self._policy = policy
        self.is_private = is_private or isinstance(self.server_address, bytes)  # an abstract socket's name
        """Whether only root and our own user may connect, unless a rule allows users by name."""

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether rules and rates admit the peer."""
        asked = self.socket if self.is_datagram else request  # a datagram's groups are unknown
        self.refusal = self._policy.refusal(asked, self.peer_of(request), is_private=self.is_private)
        return not self.refusal

    def user_of(self, uid: int) -> int:
        """The owner of a subordinate uid (subuids.py); any other uid itself."""
        return self._policy.owners.of(uid)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report an exception of our own. One of a handler is in the record of its child."""
        if self.row is None and not is_gone(sys.exc_info()[1]):
            report()

    def failed(self) -> None:
        """Report nothing, for the same reason."""


class UnixServer(DaemonServer, socketserver.UnixStreamServer):
    """Serves a listening Unix-domain stream socket."""


class TCPServer(DaemonServer, socketserver.TCPServer):
    """Serves a listening TCP socket."""

    def prepare(self) -> None:
        super().prepare()
        self._lookup = PeerLookup()
        # On Linux, accepted sockets inherit both (tcp(7), socket(7)).
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def close_request(self, request: Any) -> None:
        """Close without waiting, even if a child has asked the kernel to wait (socket(7), SO_LINGER)."""
        if self.row is None:
            try:
                request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            except OSError:
                pass  # the client is gone
        super().close_request(request)

    def peer_credentials(self, request: Any) -> Peer:
        """The uid that made a loopback peer's socket; UNKNOWN if that is not certain (server/peer.py)."""
        return self._lookup.uid(request), UNKNOWN, UNKNOWN

    def descriptors(self) -> tuple[int, ...]:
        return *super().descriptors(), *self._lookup.descriptors()


def make_server(listener: Listener, handlers: Handlers, policy: Policy) -> DaemonServer:
    """Make the server of a listener. Raises HandlerError if the handler does not fit."""
    handler = handlers.fitting(is_datagram=listener.is_datagram, listener=listener.address)
    is_unix = listener.socket.family == socket.AF_UNIX
    kind: type[DaemonServer] = UnixServer if is_unix else TCPServer
    if listener.is_datagram:
        from upperd.service import datagram

        kind = datagram.UnixDatagramServer if is_unix else datagram.UDPServer
    return kind(listener.socket, handler, policy, is_private=listener.is_private)
