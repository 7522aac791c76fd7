"""The daemon's servers for datagrams: one in, one out.

Loaded only where such a listener is asked for, so a daemon of streams pays nothing for it.

The parent receives, and each datagram counts as a connection. A child has the answer, and the parent sends it: no child
has the server's socket. It is sent at once or not at all, so a client that does not read holds up nobody. What cannot
be answered is counted.

- Who sent it: for a Unix datagram the kernel says (unix(7), SCM_CREDENTIALS), except for supplementary groups; for one
  by UDP the user is unknown.
- Where the answer goes: a sender chooses its address itself, and by one that is another user's has us speak to that one
  in our name. So a path must be absolute, and a socket of the sender's own; a port of UDP is neither a privileged one
  nor ours (as inetd has it, against servers that answer each other for ever).
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
"""Bytes of a datagram that are taken: more than UDP allows, and than a Unix socket sends by default (some 212,960)."""
_UNPRIVILEGED = 1024
"""The lowest port that is answered (IPPORT_RESERVED)."""
_DONTWAIT = int(socket.MSG_DONTWAIT)
_IP_PKTINFO = 8
"""Of linux/in.h, for which Python has no name."""
_ROOM = socket.CMSG_SPACE(20)
"""For either of them, or struct in6_pktinfo (RFC 3542), and no more: descriptors that come with a datagram (SCM_RIGHTS)
have no room, so the kernel keeps them."""
_ROOT = 0


class BoundedDatagram(Datagram):
    """A datagram, and what else is known of it."""

    is_cut = False
    """Whether it was longer than LARGEST: then there is none of it."""
    source: Ancillary = []  # noqa: RUF012  # never written to
    """From which of our addresses the answer goes, as sendmsg() takes it; empty: as the kernel has it."""


class Answer:
    """What a handler has for a socket to answer by: the parent sends, to where an answer may go."""

    def __init__(self, server: DatagramServer, row: Row) -> None:
        self._server, self._row = server, row

    def sendto(self, data: bytes, *arguments: Any) -> int:
        """As socket.sendto, to the sender; an answer that cannot be sent is counted."""
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
    """What both share."""

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
        """Take down what came with a datagram (recvmsg(2), msg_control)."""
        raise NotImplementedError

    def kept_by_children(self) -> tuple[int, ...]:
        """Not our socket: by that a child could read every user's datagrams. It has its parent answer."""
        return ()

    def open_place(self, address: Any) -> int:
        """In a child, which may wait for a file system: open where an answer goes; -1: its address says it all.

        Raises OSError: there is no such place, or we do not answer there.
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
        """Send an answer to where its request came from. False: we do not answer there. Raises OSError."""
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
        data, is_cut = datagram or self.as_message(connection)  # the latter: we were forked for it
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
        """There is no connection to close."""


class UnixDatagramServer(DatagramServer, socketserver.UnixDatagramServer):
    """Serves a bound Unix socket for datagrams."""

    def prepare(self) -> None:
        super().prepare()
        # Of what was queued before the sender is not known, unless the socket was made so.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    def note(self, request: BoundedDatagram, level: int, kind: int, data: bytes) -> None:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
            pid, uid, gid = CREDENTIALS.unpack(data)
            if pid != 0 or uid != NOBODY:  # so stands a sender that the kernel has not written down
                request.sender = uid, gid, pid

    def open_place(self, address: Any) -> int:
        if isinstance(address, bytes):  # an abstract one, which has no owner
            return -1
        if not address.startswith("/"):  # from the sender's folder, which is not ours
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
        status = os.fstat(place)  # a child may have opened another one
        if not stat.S_ISSOCK(status.st_mode) or request.sender[0] not in (status.st_uid, _ROOT):
            return False
        self.socket.sendto(data, _DONTWAIT, f"/proc/self/fd/{place}")
        return True


class UDPServer(DatagramServer, socketserver.UDPServer):
    """Serves a bound UDP socket.

    One that is bound to every address of the host answers from that which a datagram was sent to: a client that is
    connected takes no other answer.
    """

    def prepare(self) -> None:
        super().prepare()
        if self.server_address[0] == "0.0.0.0":
            self.socket.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        elif self.server_address[0] == "::":
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)

    def note(self, request: BoundedDatagram, level: int, kind: int, data: bytes) -> None:
        if (level, kind) == (socket.IPPROTO_IP, _IP_PKTINFO):  # struct in_pktinfo (ip(7))
            # The middle is our address; by which interface the answer goes out is the kernel's to say.
            request.source = [(int(level), int(kind), bytes(4) + data[4:8] + bytes(4))]
        elif (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            request.source = [(int(level), int(kind), data)]

    def send(self, request: BoundedDatagram, data: bytes, address: Any, place: int) -> bool:
        port = address[1]
        if port < _UNPRIVILEGED or port == self.server_address[1]:
            return False
        self.socket.sendmsg([data], request.source, _DONTWAIT, address)
        return True
