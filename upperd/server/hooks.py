"""Hooks of a server, besides those of socketserver, which the parent and its children call.

A subclass may override each of them. The parent calls the first ones, a child the last ones.
"""

from __future__ import annotations

import socket
import socketserver

from upperd.server import peer as peers
from upperd.server import registry
from upperd.server.datagram import Datagram, DatagramHooks
from upperd.server.failure import report
from upperd.server.layout import COUNTERS, LONGEST_COUNTER, RESERVED
from upperd.server.peer import NOT_KNOWN, Peer
from upperd.server.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from upperd.server.parent import Parent
    from upperd.server.row import Row

    _Base = socketserver.TCPServer
else:
    _Base = object

_AF_UNIX = int(socket.AF_UNIX)
_SOCK_STREAM, _SOCK_DGRAM = int(socket.SOCK_STREAM), int(socket.SOCK_DGRAM)


def counters_of(handler: Any) -> tuple[str, ...]:
    """The names of a handler class's own counters. Raises ValueError if they are invalid."""
    names = getattr(handler, "counters", ())
    must = f"it must be a tuple of at most {COUNTERS} ASCII identifiers of at most {LONGEST_COUNTER} characters"
    if type(names) is not tuple or len(names) > COUNTERS:
        raise ValueError(f"counters is {names!r}: {must}")
    for name in names:
        is_name = isinstance(name, str) and name.isascii() and name.isidentifier() and len(name) <= LONGEST_COUNTER
        if not is_name or name in RESERVED:
            raise ValueError(f"counters has {name!r}: {must}, and none that upperd itself has")
    return names


class Hooks(DatagramHooks, _Base):
    """How requests of one server are accepted, identified and handed over."""

    listener = 0
    """The number of our listener in the scoreboard."""
    pool = 0
    """Children of a pool serve the same servers: all stream servers, or one datagram server."""
    parent: Parent | None = None
    """The owner of the children. Made on first use, unless several servers share one."""
    row: Row | None = None
    """In a child: its row of the scoreboard. Elsewhere None."""
    channel: socket.socket | None = None
    """In a child: its channel to the parent."""
    connections_per_child: int
    refusal = "refused"
    """The field of the header that counts what `verify_request` refuses."""
    _seen: tuple[Any, Peer] = None, NOT_KNOWN
    """The request that was accepted last, and its peer."""
    _accepted: Any = None
    """The request that was accepted last, until it is closed."""

    is_datagram = False
    _is_unix = False
    _is_prepared = False

    def prepare(self) -> None:
        """Note the kind of our socket. Called once: by the constructor, or earlier if the parent is needed."""
        self._is_prepared = True
        self.is_datagram = int(self.socket_type) == _SOCK_DGRAM
        self._is_unix = int(self.address_family) == _AF_UNIX
        registry.owners.add(self)

    @property
    def counters(self) -> tuple[str, ...]:
        """The names of the handler's own counters. Raises ValueError if they are invalid."""
        return counters_of(self.RequestHandlerClass)

    def accept_one(self) -> bool:
        """Accept a request, if there is one, and have it served. Returns whether there was one. Raises OSError."""
        try:
            request, address = self.get_request()
        except BlockingIOError:
            return False
        self.take(request, address)
        return True

    def take(self, request: Any, address: Any) -> None:
        self._accepted = request
        peer = self.peer_credentials(request)
        self._seen = request, peer
        try:
            if self.verify_request(request, address):
                self.process_request(request, address)
            else:
                self.refused(request, peer, self.refusal)
                self.shutdown_request(request)
        except Exception:
            self.handle_error(request, address)
            self.shutdown_request(request)
        except BaseException:
            self.shutdown_request(request)
            raise

    def peer_of(self, request: Any) -> Peer:
        """The peer of an accepted request."""
        seen, peer = self._seen
        return peer if seen is request else self.peer_credentials(request)

    def peer_credentials(self, request: Any) -> Peer:
        """The peer's uid, gid and pid when it connected; UNKNOWN if the kernel does not say."""
        if self.is_datagram or not self._is_unix:
            return NOT_KNOWN
        try:
            return peers.of_unix(request)
        except (OSError, AttributeError):
            return NOT_KNOWN  # a subclass may make requests of another type

    def refused(self, request: Any, peer: Peer, reason: str) -> None:
        """Count and report a refused request. `reason` is a field of the scoreboard's header."""
        parent = self.parent
        assert parent is not None  # it has accepted the request
        user = self.user_of(peer[0])
        parent.board["denied_uid"] = user
        parent.board.add("refused")  # first: a reader never sees more of a part than in all
        if reason != "refused":
            parent.board.add(reason)
        parent.observer.refused(user, reason)
        parent.loop.stir()

    def user_of(self, uid: int) -> int:
        """The uid of the user for whom this uid counts."""
        return uid

    def descriptors(self) -> tuple[int, ...]:
        """The descriptors of the server that no child may keep."""
        ours = self.__dict__.get("socket")  # while the constructor runs there is none yet
        return -1 if ours is None else ours.fileno(), self.descriptor_of(self._accepted)

    @staticmethod
    def is_known(uid: int) -> bool:
        """Whether this uid stands for one user."""
        return peers.is_known(uid)

    def can_hand_over(self, request: Any) -> bool:
        """Whether a request can be sent to a child. A TLS object cannot: it is more than its descriptor."""
        return self.is_datagram or type(request) is socket.socket

    def descriptor_of(self, request: Any) -> int:
        """The descriptor of a connection; -1: it is a datagram, or has none."""
        return -1 if self.is_datagram or not hasattr(request, "fileno") else int(request.fileno())

    # In a child

    def failed(self) -> None:
        """Report an exception that ends this child and reaches no hook of socketserver."""
        report()

    def receive_handed(
        self, row: Row, connection: Any, peer: Peer, max_bytes: int, datagram: tuple[Any, ...] | None
    ) -> Any:
        """The request of an order (handover.Order), as the other hooks receive it."""
        self.row = row
        if datagram is not None:
            row.received(len(datagram[0]))
            return Datagram((datagram[0], self.socket)).attach(row)
        if not isinstance(connection, int):
            return connection  # this child was forked for it
        session = Session(self.address_family, _SOCK_STREAM, 0, connection)
        session.attach(row, peer, is_unix=self._is_unix, max_bytes=max_bytes)
        return session
