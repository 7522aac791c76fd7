"""The two servers of upperd for datagrams: one in, one out.

Loaded only where somebody asks for such a listener, so a stream server pays nothing for it.

A child is forked ahead, waits in recvmsg(), and each datagram counts as a connection. It is taken whole or refused, and
the answer is sent at once or not at all: nobody who does not read holds up a child. What cannot be answered is counted.

- Who sent it: of a Unix datagram what the kernel says (unix(7), SCM_CREDENTIALS), but for supplementary groups; of one
  by UDP nobody knows.
- Where the answer goes: a sender chooses its address itself, and by one that is another's has us speak to that one in
  our name. So a path must be absolute, and a socket of the sender's own; a port of UDP is neither a privileged one nor
  ours (as inetd has it, against servers that answer each other for ever).
- What another user's child has received is handed to the parent in a socket of its own, as a connection would be.
"""

from __future__ import annotations

import errno
import os
import socket
import socketserver
import stat
import struct

from upperd.server.layout import NOT_ANSWERED, UNANSWERED, UNANSWERED_FULL, UNANSWERED_SIZE, UNKNOWN
from upperd.server.mixin import UpperServer
from upperd.upper.datagram_handler import UpperDatagramHandler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from upperd.service.guard import Guard, PrivateGuard

LARGEST = 262_144
"""Bytes of a datagram that are taken: more than UDP allows, and than a Unix socket sends by default (some 212,960)."""
_REASONS = {errno.EMSGSIZE: UNANSWERED_SIZE, errno.EAGAIN: UNANSWERED_FULL, errno.ENOBUFS: UNANSWERED_FULL}
"""By the error of sendto(2): the field in which it counts, too."""
_UNPRIVILEGED = 1024
"""The lowest port that is answered (IPPORT_RESERVED)."""

# As plain numbers, and functions: see server.py.
_SOL_SOCKET, _SCM_CREDENTIALS = int(socket.SOL_SOCKET), int(socket.SCM_CREDENTIALS)
_IPPROTO_IP, _IPPROTO_IPV6, _IPV6_PKTINFO = int(socket.IPPROTO_IP), int(socket.IPPROTO_IPV6), int(socket.IPV6_PKTINFO)
_MSG_TRUNC, _MSG_DONTWAIT = int(socket.MSG_TRUNC), int(socket.MSG_DONTWAIT)
_O_PATH = os.O_PATH | os.O_CLOEXEC
_unpack_credentials, _CREDENTIALS_SIZE = struct.Struct("=iII").unpack, 12
"""struct ucred (unix(7)): pid, uid, gid."""
_IP_PKTINFO, _PKTINFO_SIZE = 8, 12
"""Of linux/in.h, for which Python has no name; struct in_pktinfo (ip(7))."""
_ROOM = socket.CMSG_SPACE(20)
"""For either of them, or struct in6_pktinfo (RFC 3542), and no more: descriptors that come with a datagram (SCM_RIGHTS)
have no room, so the kernel keeps them."""
_ROOT = 0
_OVERFLOW = 65534
"""The uid, with pid 0, of a sender that the kernel has not written down (/proc/sys/kernel/overflowuid)."""
_handed = struct.Struct("=QQQ?H")
"""What goes before a datagram that is handed on: uid, gid, pid, whether it was cut, the length of the address."""


class Datagram(tuple[bytes, socket.socket]):
    """A request as socketserver has it, (data, socket to answer by), and what else is known of it."""

    sender: tuple[int, int, int] = UNKNOWN, UNKNOWN, UNKNOWN
    """The uid, gid and pid of who sent it."""
    address: Any = None
    """Where the answer goes; None: nowhere."""
    is_cut = False
    """Whether it was longer than LARGEST: then there is none of it."""
    source: list[tuple[int, int, bytes]] = []  # noqa: RUF012  # never written to
    """From which of our addresses the answer goes, as sendmsg() takes it; empty: as the kernel has it."""

    def fileno(self) -> int:
        """A descriptor by which all of it can be handed on (Link.pass_up). Its other end ends with us."""
        self._ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours, theirs = self._ends
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * LARGEST)
        address = b"" if self.address is None else os.fsencode(self.address)
        ours.sendmsg([_handed.pack(*self.sender, self.is_cut, len(address)), address, self[0]])
        return theirs.fileno()


def receive_handed(connection: Any, answering: socket.socket) -> Datagram:
    """What was handed on by a descriptor of `Datagram.fileno`. Raises struct.error where that was something else."""
    message = connection.recv(_handed.size + 4096 + LARGEST)
    *sender, is_cut, length = _handed.unpack_from(message)
    start = _handed.size + length
    address = message[_handed.size : start]
    datagram = Datagram((message[start:], answering))
    datagram.sender = sender[0], sender[1], sender[2]
    datagram.is_cut = is_cut
    datagram.address = None if not address else address if address[0] == 0 else os.fsdecode(address)
    return datagram


class _DatagramServer(UpperServer):
    """What both share."""

    def prepare_listener(self, listener: socket.socket) -> None:
        self._answering = listener.dup()
        self._datagram = Datagram()
        """The one that we have in hand."""
        self._ask_for_more(listener)

    def _ask_for_more(self, listener: socket.socket) -> None:
        """Have the kernel say with each datagram what `_note` takes down."""
        raise NotImplementedError

    def get_request(self) -> tuple[Any, Any]:
        """Receive a datagram."""
        data, ancillary, flags, address = self.socket.recvmsg(LARGEST, _ROOM)
        is_cut = flags & _MSG_TRUNC != 0
        request = Datagram((b"" if is_cut else data, self._answering))
        request.is_cut = is_cut
        request.address = address
        self._note(request, ancillary)
        return request, address

    def _note(self, request: Datagram, ancillary: list[tuple[int, int, bytes]]) -> None:
        """Take down what came with a datagram."""
        raise NotImplementedError

    def peer_credentials(self, request: Any) -> tuple[int, int, int]:
        if isinstance(request, Datagram):
            self._datagram = request
        else:  # it was handed to us
            self._datagram = receive_handed(request, self._answering)
            request.close()
        return self._datagram.sender

    def finish_request(self, request: Any, client_address: Any) -> None:
        datagram = self._datagram
        if datagram.is_cut:
            self._unanswered(UNANSWERED_SIZE)
        else:
            super().finish_request(datagram, datagram.address)

    def shutdown_request(self, request: Any) -> None:
        """There is no connection to close."""

    # Rules: see UpperServer. What was taken by the rules of a moment ago is answered.

    def refuse_request(self, request: Any, uid: int, gid: int) -> int:
        # Of our own socket, which has no peer, the guard gets no groups.
        return super().refuse_request(self._answering, uid, gid)

    def recheck_request(self, request: Any) -> None:
        pass

    # It takes an instant to serve a datagram: there is nothing to hasten.

    def limit_request(self, request: Any) -> None:
        pass

    def quiesce_request(self, request: Any) -> None:
        pass

    def cut_request(self, request: Any) -> None:
        pass

    # Answers

    def send_answer(self, request: Datagram, answer: bytes) -> None:
        """Send the answer to a datagram, and count it, or why it cannot be sent. Never waits."""
        try:
            is_sent = request.address is not None and self._send(request, answer)
        except OSError as error:
            self._unanswered(_REASONS.get(error.errno or 0))
            return
        if not is_sent:
            self._unanswered()
        elif self.slot is not None:
            self.slot.sent(len(answer))

    def _send(self, request: Datagram, answer: bytes) -> bool:
        """Send an answer to where its request came from. False: we do not answer there. Raises OSError."""
        raise NotImplementedError

    def _unanswered(self, reason: int | None = None) -> None:
        if self.slot is None:
            return
        words = self.slot.words
        for field in (UNANSWERED, reason):
            if field is not None:
                words[field] = words[field] + 1 & UNKNOWN
        self.slot.end(NOT_ANSWERED)


class UnixDatagramServer(_DatagramServer, socketserver.UnixDatagramServer):
    """Serves a bound Unix socket for datagrams."""

    def _ask_for_more(self, listener: socket.socket) -> None:
        # Of what was queued before that nobody knows the sender, unless who made the socket has said so, too.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    def _note(self, request: Datagram, ancillary: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in ancillary:
            if level == _SOL_SOCKET and kind == _SCM_CREDENTIALS and len(data) == _CREDENTIALS_SIZE:
                pid, uid, gid = _unpack_credentials(data)
                if pid != 0 or uid != _OVERFLOW:
                    request.sender = uid, gid, pid

    def _send(self, request: Datagram, answer: bytes) -> bool:
        address = request.address
        if address == self.server_address:
            return False
        if isinstance(address, bytes):  # an abstract one, which nobody owns
            request[1].sendto(answer, _MSG_DONTWAIT, address)
            return True
        if not address.startswith("/"):
            return False  # from the sender's folder, which is not ours
        place = os.open(address, _O_PATH)
        try:
            status = os.fstat(place)
            if not stat.S_ISSOCK(status.st_mode) or request.sender[0] not in (status.st_uid, _ROOT):
                return False
            request[1].sendto(answer, _MSG_DONTWAIT, f"/proc/self/fd/{place}")
        finally:
            os.close(place)
        return True


class UDPServer(_DatagramServer, socketserver.UDPServer):
    """Serves a bound UDP socket.

    One that is bound to every address of the host answers from that which a datagram was sent to: a client that is
    connected takes no other answer.
    """

    def _ask_for_more(self, listener: socket.socket) -> None:
        if self.server_address[0] == "0.0.0.0":
            listener.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        elif self.server_address[0] == "::":
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)

    def _note(self, request: Datagram, ancillary: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in ancillary:
            if level == _IPPROTO_IP and kind == _IP_PKTINFO and len(data) == _PKTINFO_SIZE:
                # The middle is our address; by which interface the answer goes out is the kernel's to say.
                request.source = [(level, kind, bytes(4) + data[4:8] + bytes(4))]
            elif level == _IPPROTO_IPV6 and kind == _IPV6_PKTINFO:
                request.source = [(level, kind, data)]

    def _send(self, request: Datagram, answer: bytes) -> bool:
        port = request.address[1]
        if port < _UNPRIVILEGED or port == self.server_address[1]:
            return False
        request[1].sendmsg([answer], request.source, _MSG_DONTWAIT, request.address)
        return True


def make_server(listener: socket.socket, guard: Guard | PrivateGuard) -> UnixDatagramServer | UDPServer:
    """Serve a bound socket for datagrams, whoever made it. Whom `guard` lets in."""
    server_class = UnixDatagramServer if listener.family == socket.AF_UNIX else UDPServer
    return server_class(listener, UpperDatagramHandler, guard)


OF_CHILDREN = (Datagram, *UnixDatagramServer.__mro__[:-1], *UDPServer.__mro__[:-1], *UpperDatagramHandler.__mro__[:-1])
"""The classes whose functions a child runs (warmup.py)."""
