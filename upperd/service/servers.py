"""The daemon's servers: PreforkingMixIn around a listener that is there already, with the daemon's policy."""

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
"""struct linger (socket(7)): it is off."""


class DaemonServer(PreforkingMixIn):
    """What the daemon's servers share."""

    def __init__(self, listener: socket.socket, handler: Any, policy: Policy, *, is_private: bool = False) -> None:
        """Serve the listening socket `listener`, and let in the peers that `policy` admits."""
        # Not TCPServer's constructor, which makes a socket of its own and binds it.
        socketserver.BaseServer.__init__(self, listener.getsockname(), handler)
        self.socket = listener
        self.address_family = int(listener.family)
        self.prepare()
        self._policy = policy
        self.is_private = is_private or isinstance(self.server_address, bytes)  # the name of an abstract socket
        """Whether, without a rule that allows a user, it is for root and our own user alone."""

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether rules and rates let the peer in."""
        asked = self.socket if self.is_datagram else request  # of a datagram no groups are known
        self.refusal = self._policy.refusal(asked, self.peer_of(request), is_private=self.is_private)
        return not self.refusal

    def user_of(self, uid: int) -> int:
        """The owner of a subordinate uid (subuids.py)."""
        return self._policy.owners.of(uid)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: what a handler raises stands in the record of its child. What we raise ourselves is reported."""
        if self.row is None and not is_gone(sys.exc_info()[1]):
            report()

    def failed(self) -> None:
        """Say nothing, as above."""


class UnixServer(DaemonServer, socketserver.UnixStreamServer):
    """Serves a listening Unix-domain stream socket."""


class TCPServer(DaemonServer, socketserver.TCPServer):
    """Serves a listening TCP socket."""

    def prepare(self) -> None:
        super().prepare()
        self._lookup = PeerLookup()
        # Linux hands both down to what is accepted (tcp(7), socket(7)).
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def close_request(self, request: Any) -> None:
        """As the stock one, which never waits: a child may have asked the kernel to (socket(7), SO_LINGER)."""
        if self.row is None:
            try:
                request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            except OSError:
                pass  # the client is gone
        super().close_request(request)

    def peer_credentials(self, request: Any) -> Peer:
        """The uid that made a loopback peer's socket, where it is certain (peer.py of the server)."""
        return self._lookup.uid(request), UNKNOWN, UNKNOWN

    def descriptors(self) -> tuple[int, ...]:
        return *super().descriptors(), *self._lookup.descriptors()


def make_server(listener: Listener, handlers: Handlers, policy: Policy) -> DaemonServer:
    """The server of a listener. Raises HandlerError: the handler does not fit."""
    handler = handlers.fitting(is_datagram=listener.is_datagram, listener=listener.address)
    is_unix = listener.socket.family == socket.AF_UNIX
    kind: type[DaemonServer] = UnixServer if is_unix else TCPServer
    if listener.is_datagram:
        from upperd.service import datagram

        kind = datagram.UnixDatagramServer if is_unix else datagram.UDPServer
    return kind(listener.socket, handler, policy, is_private=listener.is_private)
