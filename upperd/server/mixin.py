"""`PreforkingMixIn`, a better `socketserver.ForkingMixIn`.

    class EchoServer(PreforkingMixIn, socketserver.UnixStreamServer):
        connections_per_child = 100

    with EchoServer("/run/echo.sock", EchoHandler) as server:
        server.serve_forever()

The hooks keep their names and meanings, and run where the stock class runs them: `get_request`, `verify_request` and
`process_request` in the parent; `finish_request`, `handle_error` and `shutdown_request` in a child; `close_request` in
both, each for its own copy.

Differences from the stock class:

- a child belongs to one user, the uid of a Unix socket's peer, and serves connections of that user alone;
- nothing blocks the loop: not `max_children`, not a full table of descriptors, not a child that hangs;
- `serve_forever` may run in any thread, and `shutdown` be called from any thread and any signal handler;
- `server_close` waits for the children at most `drain_timeout` seconds.
"""

from __future__ import annotations

import select
import socket
import socketserver
import threading

from upperd.server import registry
from upperd.server.hooks import Hooks
from upperd.server.limits import Limits, seven_eighths
from upperd.server.parent import MAX_QUEUE, Parent
from upperd.server.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SOCK_STREAM = int(socket.SOCK_STREAM)


class PreforkingMixIn(Hooks, socketserver.ForkingMixIn):
    """Serve each connection in a process that belongs to its user."""

    max_children = 64
    """The most children, busy and idle; 1 to 4096."""
    max_children_per_user: int | None = None
    """The most children that serve one user; None: seven eighths."""
    max_queue = MAX_QUEUE
    """The most connections that wait for a child; a quarter of them for one user."""
    spare_children = 8
    """Children that wait for a user's first connection, as far as `max_children` leaves room."""
    connections_per_child = 1000
    """Connections that a child serves before it exits. With 1, each has a process of its own."""
    reuse_unknown = False
    """Whether peers without a known user share children. Else a child serves one such connection only."""
    drain_timeout = 30.0
    """Seconds that `server_close` gives the children, if `block_on_close` is true."""
    request_queue_size = 2**31 - 1
    """The backlog; the kernel limits it (listen(2), net.core.somaxconn)."""

    _serving_thread: int | None = None
    _is_stopping = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        registry.owners.add(self)  # at once: another thread may fork
        try:
            super().__init__(*args, **kwargs)
        except BaseException:
            registry.owners.discard(self)
            raise
        if not self._is_prepared:
            self.prepare()

    # What socketserver promises

    def serve_forever(self, poll_interval: float | None = 0.5) -> None:
        """Serve until `shutdown`; call `service_actions` at least every `poll_interval` seconds (None: on events)."""
        parent = self.get_parent()
        self._stopped = threading.Event()
        self._serving_thread = threading.get_ident()
        try:
            parent.begin()
            while not self._is_stopping:
                parent.turn(poll_interval)
                self.service_actions()
        finally:
            parent.rest()
            self._is_stopping = False
            self._serving_thread = None
            self._stopped.set()

    def shutdown(self) -> None:
        """Stop `serve_forever`, and wait for its end, unless this is its own thread."""
        self._is_stopping = True
        if self.parent is not None:
            self.parent.loop.wake()
        if self._serving_thread not in (None, threading.get_ident()):
            self._stopped.wait()

    def handle_request(self) -> None:
        """Handle one request, as the stock class; at the limit, wait for a child."""
        parent = self.get_parent()
        # The stock one takes a non-blocking listener for one with a time-out of 0.
        listener = select.poll()
        listener.register(self, select.POLLIN)
        if listener.poll(None if self.timeout is None else self.timeout * 1000):
            self._handle_request_noblock()  # type: ignore[attr-defined]
        else:
            self.handle_timeout()
        while parent.queue:
            parent.turn()

    def service_actions(self) -> None:
        """Called by the loop of `serve_forever`, for a subclass."""  # not the stock one: the loop reaps

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection, or receive a datagram. Raises OSError."""
        listener = self.socket
        if self.is_datagram or type(listener) is not socket.socket:
            return super().get_request()
        with registry.lock:
            # As socket.accept(), without its enums.
            descriptor, address = listener._accept()  # type: ignore[attr-defined]
            self._accepted = socket.socket(self.address_family, _SOCK_STREAM, 0, descriptor)
        return self._accepted, address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Hand the request to a child of its user, now or in its turn."""
        peer = self.peer_of(request)
        if not self.get_parent().serve(self, request, client_address, peer):
            self.refused(request, peer, "refused_user")
            self.shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        """As the stock one."""
        if isinstance(request, Session):
            request.say_end()
            self.close_request(request)
        else:
            super().shutdown_request(request)

    def close_request(self, request: Any) -> None:
        """As the stock one."""
        with registry.lock:
            super().close_request(request)

    @property
    def active_children(self) -> set[int]:  # type: ignore[override]
        """The pids of the children that have not been reaped."""
        return self.parent.pids() if self.parent is not None else set()

    def collect_children(self, *, blocking: bool = False) -> None:
        """Reap the children that have ended; if `blocking`, end them all, within `drain_timeout` seconds."""
        if self.parent is not None and not blocking:
            self.parent.turn(0)
        elif self.parent is not None:
            self._end_other_thread()
            self.parent.drain(self.drain_timeout)
            self._close_parent()

    def server_close(self) -> None:
        """Close the listener, once no thread serves it any more, and end the children as `collect_children` says."""
        self._end_other_thread()  # first: nothing may accept from a listener that is closed
        if self.parent is not None:
            self.parent.accepter.stop()
        with registry.lock:
            self.socket.close()
            registry.owners.discard(self)
        super().server_close()
        if self.parent is not None and not self.block_on_close:
            self._close_parent()

    def _end_other_thread(self) -> None:
        if self._serving_thread not in (None, threading.get_ident()):
            self.shutdown()  # the loop has one owner at a time

    def _close_parent(self) -> None:
        parent, self.parent = self.parent, None
        if parent is not None:
            parent.close()

    def get_parent(self) -> Parent:
        if self.parent is None:
            if not self._is_prepared:  # a subclass whose constructor serves already
                self.prepare()
            most, per_user = self.max_children, self.max_children_per_user
            per_user = seven_eighths(most) if per_user is None else per_user or most
            limits = Limits(most, self.spare_children, per_user, self.max_queue)
            limits.reuses_unknown = self.reuse_unknown
            with registry.lock:
                self.parent = Parent(limits=limits)
            self.parent.add(self)
            self.socket.setblocking(False)  # a client that is gone again must not hold up the parent (accept(2))
        return self.parent
