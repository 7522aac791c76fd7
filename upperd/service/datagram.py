"""The daemon's servers for datagrams: one datagram in, one answer out.

This module is loaded only for a datagram listener, so a daemon without one does not pay for it.

The parent receives each datagram, which counts as a connection. A child makes the answer and the parent sends it, so no
child has the server's socket. The parent sends an answer at once or drops it, so a client that does not read delays no
other. Datagrams that get no answer are counted.

- Sender: the kernel passes pid, uid and gid with a Unix datagram (unix(7), SCM_CREDENTIALS), but no supplementary
  groups. With UDP the user is unknown.
- Destination: a sender chooses its own address, and could choose another user's to have us write there in our name. So
  a path must be absolute and lead to a socket that the sender owns, unless the sender is root. A UDP port must be
  neither privileged nor ours (inetd has this rule, too: else two servers could answer each other for ever).
"""

from __future__ import annotations

import errno
import os
import socket
import socketserver
import stat

from upperd.server import handover
from upperd.server.datagram import Datagram
from upperd.server.peer import CREDENTIALS, NOBODY, Peer
from upperd.service.servers import DaemonServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from upperd.server.connection import Connection
    from upperd.server.row import Row

    Ancillary = list[tuple[int, int, bytes]]

LARGEST = 262_144
"""The most bytes of a datagram: more than UDP allows, or a Unix socket sends by default (some 212,960)."""
_UNPRIVILEGED = 1024
"""The lowest port that gets an answer (IPPORT_RESERVED)."""
_DONTWAIT = int(socket.MSG_DONTWAIT)
_IP_PKTINFO = 8
"""From linux/in.h; Python has no name for it."""
_ROOM = socket.CMSG_SPACE(20)
"""Room for struct ucred, in_pktinfo or in6_pktinfo (RFC 3542), and no more: so the kernel drops descriptors that come
with a datagram (SCM_RIGHTS)."""
_ROOT = 0


class BoundedDatagram(Datagram):
    """A datagram, and what recvmsg(2) says about it."""

    is_cut = False
    """Whether the datagram was longer than LARGEST; then its data is empty."""
    source: Ancillary = []  # noqa: RUF012  # never modified
    """The address of ours that sends the answer, as sendmsg() takes it; empty: the kernel chooses it."""


class Answer:
    """What a handler gets as the socket to answer by: it passes the answer to the parent, which sends it."""

    def __init__(self, server: DatagramServer, row: Row) -> None:
        self._server, self._row = server, row

    def sendto(self, data: bytes, *arguments: Any) -> int:
        """Like socket.sendto(), but never raises OSError: an answer that cannot be sent is counted."""
        assert self._server.channel is not None
        place = -1
        try:
            place = self._server.open_place(arguments[-1])
            handover.answer(self._server.channel, bytes(data), place)
        except OSError as error:
            self._row.unanswered(too_long=error.errno == errno.EMSGSIZE)
        finally:
            if place >= 0:
                os.close(place)
        return len(data)


class DatagramServer(DaemonServer):
    """What the servers for Unix datagrams and for UDP share."""

    def get_request(self) -> tuple[Any, Any]:
        """Receive a datagram. Raises OSError."""
        data, ancillary, flags, address = self.socket.recvmsg(LARGEST, _ROOM, _DONTWAIT)
        is_cut = flags & socket.MSG_TRUNC != 0
        request = BoundedDatagram((b"" if is_cut else data, self.socket))
        request.is_cut = is_cut
        for level, kind, control in ancillary:
            self.note(request, level, kind, control)
        return request, address

    def note(self, request: BoundedDatagram, level: int, kind: int, data: bytes) -> None:
        """Note in `request` a control message that came with the datagram (recvmsg(2), msg_control)."""
        raise NotImplementedError

    def kept_by_children(self) -> tuple[int, ...]:
        """None: with the server's socket a child could read every user's datagrams, so the parent sends its answers."""
        return ()

    def open_place(self, address: Any) -> int:
        """In a child, which may block on a file system: open the path that an answer goes to; -1: there is no path.

        Raises OSError if the path cannot be opened, or if we do not answer there.
        """
        return -1

    def send_answer(self, connection: Connection, row: Row, data: bytes, place: int) -> None:
        try:
            if self.send(connection.request, data, connection.address, place):
                row.sent(len(data))
            else:
                row.unanswered()
        except OSError as error:
            is_full = error.errno in (errno.EAGAIN, errno.ENOBUFS)
            row.unanswered(too_long=error.errno == errno.EMSGSIZE, queue_full=is_full)

    def send(self, request: BoundedDatagram, data: bytes, address: Any, place: int) -> bool:
        """Send an answer to the sender's address. Returns False if we do not answer there. Raises OSError."""
        raise NotImplementedError

    def peer_credentials(self, request: Any) -> Peer:
        sender: Peer = request.sender
        return sender

    def as_message(self, request: Any) -> tuple[Any, ...]:
        return request[0], request.is_cut

    def receive_handed(
        self, row: Row, connection: Any, peer: Peer, max_bytes: int, datagram: tuple[Any, ...] | None
    ) -> Any:
        self.row = row
        data, is_cut = datagram or self.as_message(connection)  # no message: this child was forked for it
        request = BoundedDatagram((data, Answer(self, row)))
        request.is_cut, request.sender = is_cut, peer
        request.attach(row)
        row.received(len(data))
        return request

    def finish_request(self, request: Any, client_address: Any) -> None:
        assert self.row is not None
        if request.is_cut or client_address is None:
            self.row.unanswered(too_long=request.is_cut)
        else:
            super().finish_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Do nothing: a datagram has no connection to close."""


class UnixDatagramServer(DatagramServer, socketserver.UnixDatagramServer):
    """Serves a bound Unix datagram socket."""

    def prepare(self) -> None:
        super().prepare()
        # Datagrams queued before this have no known sender, unless the option was set before.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    def note(self, request: BoundedDatagram, level: int, kind: int, data: bytes) -> None:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid, uid, gid = CREDENTIALS.unpack(data)
            if pid != 0 or uid != NOBODY:  # these stand for a sender that the kernel has not recorded
                request.sender = uid, gid, pid

    def open_place(self, address: Any) -> int:
        if isinstance(address, bytes):  # an abstract name, which has no owner
            return -1
        if not address.startswith("/"):  # relative to the sender's folder, which is not ours
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        return os.open(address, os.O_PATH | os.O_CLOEXEC)

    def send(self, request: BoundedDatagram, data: bytes, address: Any, place: int) -> bool:
        if address == self.server_address:
            return False
        if isinstance(address, bytes):
            self.socket.sendto(data, _DONTWAIT, address)
            return True
        if place < 0:
            return False
        status = os.fstat(place)  # not trusted: the child may have opened another file
        if not stat.S_ISSOCK(status.st_mode) or request.sender[0] not in (status.st_uid, _ROOT):
            return False
        self.socket.sendto(data, _DONTWAIT, f"/proc/self/fd/{place}")
        return True


class UDPServer(DatagramServer, socketserver.UDPServer):
    """Serves a bound UDP socket.

    If the socket is bound to every address of the host, an answer comes from the address that the datagram was sent
    to: a connected client takes no other.
    """

    def prepare(self) -> None:
        super().prepare()
        if self.server_address[0] == "0.0.0.0":
            self.socket.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        elif self.server_address[0] == "::":
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)

    def note(self, request: BoundedDatagram, level: int, kind: int, data: bytes) -> None:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):  # struct in_pktinfo (ip(7))
            # ipi_spec_dst is our address. With ipi_ifindex 0, the kernel chooses the interface.
            request.source = [(int(level), int(kind), bytes(4) + data[4:8] + bytes(4))]
        elif (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            request.source = [(int(level), int(kind), data)]

    def send(self, request: BoundedDatagram, data: bytes, address: Any, place: int) -> bool:
        port = address[1]
        if port < _UNPRIVILEGED or port == self.server_address[1]:
            return False
        self.socket.sendmsg([data], request.source, _DONTWAIT, address)
        return True
