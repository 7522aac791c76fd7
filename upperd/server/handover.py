"""How the parent hands a connection to a child: a pair of sockets, and what goes over it.

Down goes one message for each connection: the connection itself (unix(7), SCM_RIGHTS) and an Order. Up comes one byte
when the child has finished and was asked to tell; and before it the answer to a datagram, which the parent sends, since
the server's socket would let a child read every user's. End of file down: leave when idle. End of file up: the child
ended.
"""

from __future__ import annotations

import errno
import marshal
import os
import socket
import struct
from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ROOM = 1024
"""Bytes of an Order of a connection: addresses are short."""
LARGEST = 2**20
"""Bytes of an Order with a datagram at most."""
_CLOEXEC = int(socket.MSG_CMSG_CLOEXEC)
_DESCRIPTOR = struct.Struct("@i")
_ONE_DESCRIPTOR = socket.CMSG_LEN(_DESCRIPTOR.size)
_DONE, _ANSWER = b"\0", b"\1"

# typing.NamedTuple would take the module `typing` along.
Order = namedtuple(
    "Order", "listener address user peer is_last max_bytes datagram connection", defaults=(False, 0, None, -1)
)
Order.__doc__ = """What a child is to do with a connection.

    listener    the number of the server in its parent
    address     the client's, as the hooks of socketserver have it
    user        the uid of the user to whom the child belongs with it
    peer        uid, gid and pid, as the kernel has them (peer.py)
    is_last     whether the child ends after it
    max_bytes   what the client may send; 0: any number
    datagram    plain values: the request is no connection but this datagram; None: it is one
    connection  in the child: the descriptor, or the request itself where the child was forked for it
"""


def channel(buffer_size: int = 0) -> tuple[socket.socket, socket.socket]:
    """The parent's end and the child's; `buffer_size`: bytes of the largest message, where they are many."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(True)  # whatever socket.setdefaulttimeout() says: it waits for ever
    if buffer_size:
        for end in ours, theirs:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * buffer_size)
    return ours, theirs


def send(control: socket.socket, order: Order, descriptor: int = -1) -> None:
    """In the parent: hand over. Raises OSError, and ValueError where the address cannot be written down."""
    message = marshal.dumps(order[:-1])
    if descriptor < 0:
        control.send(message)
    else:
        socket.send_fds(control, [message], [descriptor])


def receive(control: socket.socket, *, takes_datagrams: bool = False) -> tuple[Any, ...] | None:
    """In the child: wait for the next one, and return its values. None: there is no more. Raises OSError."""
    try:
        # Not socket.recv_fds(), which in Python 3.11 passes no flags on.
        message, ancillary, _, _ = control.recvmsg(LARGEST if takes_datagrams else _ROOM, _ONE_DESCRIPTOR, _CLOEXEC)
    except ConnectionResetError:
        return None  # the parent was killed before it read what we had told
    except OSError as error:
        raise OSError(error.errno, f"cannot receive a connection: recvmsg: {error.strerror}") from None
    if not message:
        return None
    values: tuple[Any, ...] = marshal.loads(message)
    if ancillary:
        return *values, *_DESCRIPTOR.unpack(ancillary[0][2])
    if Order(*values).datagram is None:  # our table is full; the parent hands it to another child
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return *values, -1


def tell(control: socket.socket) -> None:
    """In the child: say that it has finished. Raises OSError."""
    try:
        control.send(_DONE)
    except BrokenPipeError:
        pass  # the parent was killed


def answer(control: socket.socket, data: bytes, place: int = -1) -> None:
    """In a child: have the parent send the answer to a datagram. `place`: a descriptor that says where to; -1: none.

    Raises OSError; EMSGSIZE: it is too long.
    """
    if place < 0:
        control.send(_ANSWER + data)
    else:
        socket.send_fds(control, [_ANSWER, data], [place])


def hear(control: socket.socket, *, takes_answers: bool = False) -> tuple[bytes | None, int] | None:
    """In the parent: what a child says. None: nothing more comes from it; else an answer (None: it has finished one).

    With the answer comes the descriptor of its place, which is the caller's to close; -1: none. Raises BlockingIOError.
    """
    try:
        if not takes_answers:
            return (None, -1) if control.recv(16) else None
        message, ancillary, _, _ = control.recvmsg(LARGEST, _ONE_DESCRIPTOR, _CLOEXEC)
    except BlockingIOError:
        raise
    except OSError:
        return None
    if not message:
        return None
    place: int = _DESCRIPTOR.unpack(ancillary[0][2])[0] if ancillary else -1
    if message[:1] == _ANSWER:
        return message[1:], place
    if place >= 0:
        os.close(place)  # which nobody has asked for
    return None, -1
