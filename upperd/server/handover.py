"""The channel between the parent and a child: a pair of sockets, and the messages on it.

The parent sends one message for each connection: its descriptor (unix(7), SCM_RIGHTS) and an Order. The child sends one
byte when it has finished, if the parent has asked for it, and before that the answer to a datagram. The parent sends
that answer on: with the server's socket a child could read every user's datagrams. End of file tells the child to exit
when idle, and the parent that the child has ended.
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
"""The most bytes of an Order without a datagram."""
LARGEST = 2**20
"""The most bytes of an Order with a datagram."""
_CLOEXEC = int(socket.MSG_CMSG_CLOEXEC)
_DESCRIPTOR = struct.Struct("@i")
_ONE_DESCRIPTOR = socket.CMSG_LEN(_DESCRIPTOR.size)
_DONE, _ANSWER = b"\0", b"\1"

# Not typing.NamedTuple, which would load the module `typing`.
Order = namedtuple(
    "Order", "listener address user peer is_last max_bytes datagram connection", defaults=(False, 0, None, -1)
)
Order.__doc__ = """One connection for a child.

    listener    the number of the server in its parent
    address     the client's, as the hooks of socketserver have it
    user        the uid of its user, to whom the child belongs from then on
    peer        uid, gid and pid, as the kernel has them (peer.py)
    is_last     whether the child ends after it
    max_bytes   what the client may send; 0: any number
    datagram    plain values of a datagram; None: it is a connection
    connection  in the child: the descriptor, or the request itself where the child was forked for it
"""


def channel(buffer_size: int = 0) -> tuple[socket.socket, socket.socket]:
    """The parent's end and the child's. `buffer_size`: the largest message in bytes, if the default is too small."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(True)  # not the time-out of socket.setdefaulttimeout()
    if buffer_size:
        for end in ours, theirs:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * buffer_size)
    return ours, theirs


def send(control: socket.socket, order: Order, descriptor: int = -1) -> None:
    """In the parent: send an order. Raises OSError, and ValueError if the address cannot be encoded."""
    message = marshal.dumps(order[:-1])
    if descriptor < 0:
        control.send(message)
    else:
        socket.send_fds(control, [message], [descriptor])


def receive(control: socket.socket, *, takes_datagrams: bool = False) -> tuple[Any, ...] | None:
    """In the child: wait for the next order and return its values; None at the end. Raises OSError."""
    try:
        # Not socket.recv_fds(), which ignores its flags in Python 3.11.
        message, ancillary, _, _ = control.recvmsg(LARGEST if takes_datagrams else _ROOM, _ONE_DESCRIPTOR, _CLOEXEC)
    except ConnectionResetError:
        return None  # the parent was killed before it read our message
    except OSError as error:
        raise OSError(error.errno, f"cannot receive a connection: recvmsg: {error.strerror}") from None
    if not message:
        return None
    values: tuple[Any, ...] = marshal.loads(message)
    if ancillary:
        return *values, *_DESCRIPTOR.unpack(ancillary[0][2])
    if Order(*values).datagram is None:  # our table of descriptors is full; the parent hands it to another child
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return *values, -1


def tell(control: socket.socket) -> None:
    """In the child: report that it has finished. Raises OSError."""
    try:
        control.send(_DONE)
    except BrokenPipeError:
        pass  # the parent was killed


def answer(control: socket.socket, data: bytes, place: int = -1) -> None:
    """In a child: have the parent send the answer to a datagram, to `place`: a descriptor, or -1 for the sender.

    Raises OSError; EMSGSIZE: it is too long.
    """
    if place < 0:
        control.send(_ANSWER + data)
    else:
        socket.send_fds(control, [_ANSWER, data], [place])


def hear(control: socket.socket, *, takes_answers: bool = False) -> tuple[bytes | None, int] | None:
    """In the parent: the next message of a child: an answer, or None if it has finished. Returns None at end of file.

    The caller closes the descriptor that comes with an answer (-1: none). Raises BlockingIOError, and once
    ConnectionResetError if the child ended before it read our last message.
    """
    try:
        if not takes_answers:
            return (None, -1) if control.recv(16) else None
        message, ancillary, _, _ = control.recvmsg(LARGEST, _ONE_DESCRIPTOR, _CLOEXEC)
    except (BlockingIOError, ConnectionResetError):
        raise
    except OSError:
        return None
    if not message:
        return None
    place: int = _DESCRIPTOR.unpack(ancillary[0][2])[0] if ancillary else -1
    if message[:1] == _ANSWER:
        return message[1:], place
    if place >= 0:
        os.close(place)  # unasked for
    return None, -1
