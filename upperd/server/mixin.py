"""`PreforkingMixIn`, a better `socketserver.ForkingMixIn`, and the two servers of upperd that are made with it.

    class EchoServer(PreforkingMixIn, socketserver.UnixStreamServer):
        connections_per_child = 100

    with EchoServer("/run/echo.sock", EchoHandler) as server:
        server.serve_forever()

The hooks keep their names and their meaning. What differs from the stock class:

- a child is forked before its connection, waits in `get_request`, and calls `verify_request`, `finish_request`,
  `handle_error` and `shutdown_request` itself; the parent never accepts (`handle_request` is the stock one and does);
- `serve_forever` may run in any thread, `shutdown` be called from any thread and any signal handler;
- nothing blocks the loop: not `max_children`, not a full table, not a child that hangs;
- `server_close` waits for the children at most `drain_timeout` seconds.

With `socketserver.UDPServer` and `UnixDatagramServer` it works alike; those of upperd are in datagram.py.

It knows sockets and processes, nothing of upper case or of systemd.
"""

from __future__ import annotations

import math
import socket
import socketserver
import struct
import threading
import time
from _socket import SO_RCVTIMEO as _SO_RCVTIMEO
from _socket import socket as _BareSocket  # noqa: N812  # it is a class, whatever its name
from functools import partial

from upperd.server import layout
from upperd.server.layout import UNKNOWN
from upperd.server.limits import arm_at_once, set_timeout
from upperd.server.parent import Parent
from upperd.server.socket_owner import peer_uid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from upperd.server.limits import Allowance
    from upperd.server.slot import Slot
    from upperd.service.guard import Guard, PrivateGuard

    _Address = Any
    _Base = socketserver.TCPServer
else:
    _Base = object

# What every child uses, as plain numbers and functions: an enum is a page or three for each child to copy.
_AF_UNIX = int(socket.AF_UNIX)
_SOCK_STREAM, _SOCK_DGRAM = int(socket.SOCK_STREAM), int(socket.SOCK_DGRAM)
_SHUT_WR = int(socket.SHUT_WR)
_SOL_SOCKET, _SO_PEERCRED = int(socket.SOL_SOCKET), int(socket.SO_PEERCRED)
_make_socket = partial(_BareSocket)  # which is called without a write to the class
_unpack_credentials = struct.Struct("=III").unpack  # struct ucred (unix(7))

QUIET_SECONDS = 1.0
"""A connection on which nothing came in for so long is quiet, and ended by a drain."""
LINGER_SECONDS = 0.5
"""How long a TCP connection that we end is read on: a reset would take our last answer from the client."""


class PreforkingMixIn(socketserver.ForkingMixIn, _Base):
    """Serve each request in a process that was forked before it came."""

    max_children = 64
    """Children at most, busy and spare; 1 to 4096."""
    spare_children = 8
    """Children that wait for a connection, where `max_children` leaves room."""
    connections_per_child = 1
    """Connections that a child serves, one after the other and never of two users, before it ends."""
    drain_timeout = 30.0
    """Seconds that `server_close` gives the children, where `block_on_close` is true."""
    request_queue_size = 2**31 - 1
    """The backlog: the kernel cuts it down to its maximum (listen(2), net.core.somaxconn)."""

    listener = 0
    """The number of our listener in the scoreboard."""
    allowance: Allowance | None
    """What each connection may take; None: all it wants."""
    slot: Slot | None
    """In a child: its row of the scoreboard. Elsewhere None."""
    parent: Parent | None = None
    """Who keeps our children. Made when it is needed first, unless several servers share one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepare_shutdown()

    def _prepare_shutdown(self) -> None:
        # No attribute of the class stands behind what a child asks for: PEP 659 would not know what to do then, and
        # the look-up would write to the name and to the default.
        self.slot = None
        self.allowance = None
        self._family = int(self.address_family) if self.socket_type == _SOCK_STREAM else 0  # a datagram's tells nothing
        self._answering: Any = None
        self._stopping = False
        self._stopped = threading.Event()
        self._stopped.set()
        self._serving_thread: int | None = None

    # What socketserver promises

    def serve_forever(self, poll_interval: float | None = 0.5) -> None:
        """Serve until `shutdown`; call `service_actions` at least every `poll_interval` seconds (None: on events)."""
        parent = self._get_parent()
        self._stopped.clear()
        self._serving_thread = threading.get_ident()
        try:
            parent.resume()
            while not self._stopping:
                parent.top_up()
                parent.turn(poll_interval, tops_up=not self._stopping)
                self.service_actions()
        finally:
            # Who waits in accept() must not take a connection after this; who is busy goes on.
            parent.drain(math.inf, until=lambda: not parent.any_waiting())
            self._stopping = False
            self._serving_thread = None
            self._stopped.set()

    def shutdown(self) -> None:
        """Stop `serve_forever`, and wait until it has returned (but where that would wait for ourselves)."""
        self._stopping = True
        if self.parent is not None:
            self.parent.wake()
        if self._serving_thread != threading.get_ident():
            self._stopped.wait()

    def get_request(self) -> tuple[Any, _Address]:
        """As the stock one does. The socket of a datagram is a copy: with ours a child may stop receiving meanwhile."""
        if self.socket_type != _SOCK_DGRAM:
            return super().get_request()
        self._get_parent()
        request: Any
        request, address = super().get_request()
        return (request[0], self._answering), address

    def process_request(self, request: Any, client_address: _Address) -> None:
        """Fork a child for a request that the parent has accepted itself (`handle_request` does)."""
        self._get_parent().serve_connection(self, request, client_address)
        self.close_request(request)

    @property
    def active_children(self) -> set[int]:  # type: ignore[override]
        """The pids of the children that have not been reaped."""
        return self.parent.pids() if self.parent is not None else set()

    def collect_children(self, *, blocking: bool = False) -> None:
        """Reap the children that have ended; if `blocking`, end them all, within `drain_timeout` seconds."""
        if self.parent is None:
            return
        if not blocking:
            self.parent.turn(0)
            return
        self._end_other_thread()
        self.parent.drain(self.drain_timeout)
        self.parent.close()
        self.parent = None
        if self._answering is not None:
            self._answering.close()
            self._answering = None

    def server_close(self) -> None:
        """Close the listener, once no thread serves it any more, and end the children as `collect_children` says."""
        self._end_other_thread()  # first: a child that is forked of a closed listener could only fail
        super().server_close()

    def _end_other_thread(self) -> None:
        if self._serving_thread not in (None, threading.get_ident()):
            self.shutdown()  # the loop has one owner at a time

    def descriptors(self) -> tuple[int, ...]:
        """What of ours a child needs."""
        own = (self.socket,) if self._answering is None else (self.socket, self._answering)
        return tuple(sock.fileno() for sock in own)

    # Hooks of our own, called in a child

    def peer_credentials(self, request: Any) -> tuple[int, int, int]:
        """The peer's uid, gid and pid when it connected (unix(7), SO_PEERCRED); UNKNOWN each where none can be had."""
        if self._family != _AF_UNIX:
            return UNKNOWN, UNKNOWN, UNKNOWN
        pid, uid, gid = _unpack_credentials(request.getsockopt(_SOL_SOCKET, _SO_PEERCRED, 12))
        return uid, gid, pid

    def refuse_request(self, request: Any, uid: int, gid: int) -> int:
        """Why this peer is refused, before anything is read: as the field of the slot to count it in; 0: it is not."""
        return 0

    def recheck_request(self, request: Any) -> None:
        """The rules may have changed: end the request if its peer is to be refused now. In a signal handler, too."""

    def limit_request(self, request: Any) -> None:
        """The timer that the request has set is over. Called in a signal handler."""

    def quiesce_request(self, request: Any) -> None:
        """The server drains: end the request as soon as it may. Called in a signal handler, again and again.

        The default lets it go on to its own end.
        """

    def cut_request(self, request: Any) -> None:
        """The drain deadline is over: end the request now. Called in a signal handler, again and again.

        The default closes the connection's way in, so that the handler reads an end of file.
        """
        if self._answering is None:
            _ignoring_errors(request.shutdown, socket.SHUT_RD)

    def _get_parent(self) -> Parent:
        if self.parent is None:
            self.parent = Parent(max_children=self.max_children, spare_children=self.spare_children)
            self.parent.add(self)
            if self.socket_type == _SOCK_DGRAM:
                self._answering = self.socket.dup()
        return self.parent


class UpperServer(PreforkingMixIn):
    """What the servers of upperd share: an adopted listener, and the way in which streams drain."""

    input_ended: bool
    """In a child: the handler is to read no more from its connection."""
    is_draining: bool
    """In a child: the connection is to end as soon as it may."""

    def __init__(
        self,
        listener: socket.socket,
        handler: Callable[..., Any],
        guard: Guard | PrivateGuard | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        """Serve the listening socket `listener`, whoever made it.

        Whom `guard` lets in (None: everybody), and within `allowance` (None: without limits).
        """
        # Not TCPServer's constructor, which makes a socket of its own and binds it.
        socketserver.BaseServer.__init__(self, listener.getsockname(), handler)
        self.address_family = int(listener.family)
        self._prepare_shutdown()
        self.socket = listener
        # Bound once, by the parent: the method of the class is a page that each child would write to.
        self._accept = listener._accept  # type: ignore[attr-defined]
        self._accepted: Any = None
        self.input_ended = False
        self.is_draining = False
        self.listener = 0
        self.allowance = allowance
        self._guard = guard
        self.prepare_listener(listener)

    def prepare_listener(self, listener: socket.socket) -> None:
        """Set what the kernel is to do for all that comes by it. Called once, in the parent."""

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection, as the bare socket of C: socket.accept() turns numbers into enums, some sixty pages."""
        accept = self._accept  # not self._accept(): Python would look for a method, in vain, and write down that it did
        descriptor, address = accept()
        self._accepted = request = _make_socket(self._family, _SOCK_STREAM, 0, descriptor)
        return request, address

    def finish_request(self, request: Any, client_address: _Address) -> None:
        """As the stock one does; the class first, for the same reason."""
        handler_class: Any = self.RequestHandlerClass
        handler_class(request, client_address, self)

    def shutdown_request(self, request: Any) -> None:
        """As the stock one does; with a plain number, and in one function."""
        try:
            request.shutdown(_SHUT_WR)
        except OSError:
            pass  # the peer was faster
        request.close()

    def handle_error(self, request: Any, client_address: _Address) -> None:
        """Report the exception in one line on standard error."""
        from upperd.server.child import report_exception

        report_exception()

    # Rules

    def refuse_request(self, request: Any, uid: int, gid: int) -> int:
        return self._guard.refusal(request, uid, gid) if self._guard is not None else 0

    def recheck_request(self, request: Any) -> None:
        """End the connection, once what was taken of it is answered, if the rules no longer let its peer in."""
        if self._guard is None or self.slot is None:
            return
        version, words = self._guard.rules(), self.slot.words
        if not self._guard.allows(request, words[layout.PEER_UID], words[layout.PEER_GID]):
            self.slot.end_at_limit(layout.DENIED)
            self.end_input(request)
        words[layout.RULES] = version

    def limit_request(self, request: Any) -> None:
        """Have the handler look at its limits."""
        arm_at_once(request)

    # Draining. The handler waits in recv(). A receive time-out set by the signal handler makes that recv(), begun
    # again after the signal, fail with EAGAIN once the client was quiet; the handler then asks `input_paused`.

    def quiesce_request(self, request: Any) -> None:
        """Let recv() fail when the client has been quiet for QUIET_SECONDS."""
        self.is_draining = True
        set_timeout(request, _SO_RCVTIMEO, self._until_quiet())

    def input_paused(self, request: Any, unanswered: int) -> bool:
        """Nothing can be read at this moment: whether the handler is to go on reading.

        `unanswered` is how many bytes it holds back: a client in the middle of a character is not quiet.
        """
        if self.input_ended:
            return False
        left = self._until_quiet()
        if unanswered or left > 0:
            set_timeout(request, _SO_RCVTIMEO, left or QUIET_SECONDS)
            return True
        self._mark(layout.QUIET)
        return self.end_input(request)

    def end_input(self, request: Any) -> bool:
        """Take nothing more from the client. Returns whether the handler is to read what there is."""
        raise NotImplementedError

    def cut_request(self, request: Any) -> None:
        self._mark(layout.CUT)
        self.end_input(request)

    def _until_quiet(self) -> float:
        idle = self.slot.idle_usec() / 1e6 if self.slot is not None else 0.0
        return max(0.0, QUIET_SECONDS - idle)

    def _mark(self, outcome: int) -> None:
        if self.slot is not None:
            self.slot.end(outcome)


class UnixServer(UpperServer, socketserver.UnixStreamServer):
    """Serves a listening Unix-domain stream socket.

    To end a connection without losing a byte: after SHUT_RD the client's next write fails, and everything that the
    kernel had taken before it is read to the end of file, answered, and only then is the connection closed.
    """

    def shutdown_request(self, request: Any) -> None:
        """As the stock one does, but for what is ours alone: close() is the end of that for the client, too.

        What we have not accepted ourselves others may hold: the parent and our sisters for a moment, where it was
        passed up; systemd as long as `upperd --inetd` lives.
        """
        if request is self._accepted:
            request.close()
        else:
            super().shutdown_request(request)

    def end_input(self, request: Any) -> bool:
        _ignoring_errors(request.shutdown, socket.SHUT_RD)
        return True


class TCPServer(UpperServer, socketserver.TCPServer):
    """Serves a listening TCP socket.

    SHUT_RD stops nothing here. So: answer what was read, SHUT_WR, read and discard for a moment, close.
    """

    def prepare_listener(self, listener: socket.socket) -> None:
        # Linux hands both down to what it accepts (tcp(7), socket(7)).
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def peer_credentials(self, request: Any) -> tuple[int, int, int]:
        """The uid of who made a loopback peer's socket, where it is certain (see socket_owner.py)."""
        return peer_uid(request), UNKNOWN, UNKNOWN

    def end_input(self, request: Any) -> bool:
        self.input_ended = True
        arm_at_once(request)
        return False

    def shutdown_request(self, request: Any) -> None:
        """Close the connection; where we ended it, not before the client had a moment to see that."""
        if self.input_ended:
            _ignoring_errors(request.shutdown, _SHUT_WR)
            _ignoring_errors(self._discard, request)
            self.input_ended = False  # the child's next connection begins anew
        super().shutdown_request(request)

    def _discard(self, request: Any) -> None:
        set_timeout(request, _SO_RCVTIMEO, LINGER_SECONDS)
        end = time.monotonic() + LINGER_SECONDS
        while time.monotonic() < end and request.recv(65536):
            pass


def _ignoring_errors(call: Callable[..., object], *arguments: object) -> None:
    """For what is done to a connection that may be gone: then there is nothing left to do."""
    try:
        call(*arguments)
    except OSError:
        pass
