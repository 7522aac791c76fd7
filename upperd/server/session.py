"""What a handler has as `self.request`: a socket that counts, keeps `max_bytes`, and can be ended from outside.

The law: for the handler it is a `socket.socket` like any other. Whatever moves by it, `makefile` included, is noted in
the child's row of the scoreboard, so any handler has figures and limits without knowing of them.

How a connection is ended without losing a byte. Unix: after SHUT_RD the client's next write fails, and everything that
the kernel had taken before it is read to an end of file, answered, and only then is the connection closed. TCP, where
SHUT_RD stops nothing: what had arrived by then is read, then an end of file; the answer is followed by SHUT_WR, and
what the client sends meanwhile is discarded for a moment, because a reset would take our last answer from it.
"""

from __future__ import annotations

import math
import os
import socket
import struct
import sys
from errno import EHOSTUNREACH, ENETUNREACH, ETIMEDOUT
from fcntl import ioctl
from functools import partial
from io import BytesIO
from time import monotonic

from upperd.server.layout import Outcome
from upperd.server.peer import NOT_KNOWN, Peer, PeerInfo, groups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from upperd.server.row import Row

    Message = tuple[bytes, list[tuple[int, int, bytes]], int, Any]

_DONTWAIT, _PEEK = int(socket.MSG_DONTWAIT), int(socket.MSG_PEEK)
_FIONREAD = 0x541B
"""Of asm-generic/ioctls.h: how many bytes can be read (tcp(7), SIOCINQ)."""
_AT_ONCE = struct.pack("@ll", 0, 1)
"""struct timeval: no time to speak of, where 0 stands for no limit (socket(7), SO_RCVTIMEO)."""
_UNLIMITED = sys.maxsize
_GONE = (ETIMEDOUT, EHOSTUNREACH, ENETUNREACH)
"""What TCP says of a peer that answers no more (tcp(7), "Error handling"; ip(7)), beside ConnectionError."""
PIECE = 16384
"""Bytes of an answer sent at once to a client that reads slowly: one that takes so many is not idle."""
LINGER_SECONDS = 0.5
"""How long what a client still sends is read and discarded after we ended its connection."""

_recv, _send = socket.socket.recv, socket.socket.send


def is_gone(error: BaseException | None) -> bool:
    """Whether an error says that the peer is no longer there."""
    return isinstance(error, ConnectionError) or (isinstance(error, OSError) and error.errno in _GONE)


class _Reading(socket.socket):
    """What comes in by a session, as far as it is wanted."""

    __slots__ = ("_is_unix", "_left", "_peer", "_row", "has_lost_peer", "is_detached", "is_over")

    def attach(self, row: Row, peer: Peer = NOT_KNOWN, *, is_unix: bool, max_bytes: int = 0) -> None:
        """Count in `row`, and read at most `max_bytes`; 0: as many as come. `peer`: who is at the other end."""
        self._row = row
        self._peer = peer
        self._is_unix = is_unix
        self._left = max_bytes or _UNLIMITED
        """Bytes that may still be read."""
        self.is_over = self.is_detached = self.has_lost_peer = False
        """Whether we end the connection: what may still be read had arrived by then."""

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        was_over = self.is_over
        try:
            if bufsize > self._left:
                bufsize, flags = self._allowed(flags)
                if not bufsize:
                    return b""
            data = _recv(self, bufsize, flags)
        except OSError as error:
            if self._is_end(error):
                return b""
            raise
        self._took(len(data), flags, was_over)
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        was_over, read = self.is_over, partial(super().recv_into, buffer)
        size: int = self._limited(read, nbytes or memoryview(buffer).nbytes, flags, 0)
        self._took(size, flags, was_over)
        return size

    def _limited(self, read: Callable[[int, int], Any], size: int, flags: int, nothing: Any) -> Any:
        """What `read` returns for a size and flags that are allowed; `nothing` at the end of file. As `recv` has it."""
        try:
            if size > self._left:
                size, flags = self._allowed(flags)
                if not size:
                    return nothing
            return read(size, flags)
        except OSError as error:
            if self._is_end(error):
                return nothing
            raise

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, Any]:
        return self.recv(bufsize, flags), None

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        return self.recv_into(buffer, nbytes, flags), None

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0) -> Message:
        was_over, read = self.is_over, super().recvmsg
        nothing: Message = b"", [], 0, None
        answer: Message = self._limited(lambda size, flags: read(size, ancbufsize, flags), bufsize, flags, nothing)
        self._took(len(answer[0]), flags, was_over)
        return answer

    def recvmsg_into(
        self, buffers: Iterable[Any], ancbufsize: int = 0, flags: int = 0
    ) -> tuple[int, list[tuple[int, int, bytes]], int, Any]:
        views = [memoryview(buffer).cast("B") for buffer in buffers]
        data, *rest = self.recvmsg(sum(map(len, views)), ancbufsize, flags)
        source = BytesIO(data)
        for view in views:
            source.readinto(view)
        return len(data), *rest

    def _took(self, size: int, flags: int, was_over: bool) -> None:
        """Count what one read returned, unless it only looked.

        `was_over`: whether we ended the connection before that read. Where we did during it, what is left does not
        include it.
        """
        if size and not flags & _PEEK:
            if was_over is self.is_over:
                self._left -= size
            self._row.received(size)

    def _allowed(self, flags: int) -> tuple[int, int]:
        """How much may be read where more was asked for, and with which flags; 0 stands for the end of file."""
        if self.is_over:
            return self._left, flags | _DONTWAIT
        if self._left > 0:
            return self._left, flags
        if _recv(self, 1, flags):  # the client has sent what it may: one byte more is too many
            self._row.ended_by_size()
            self.end()
            self.is_over, self._left = True, 0
        return 0, flags

    def _is_end(self, error: OSError) -> bool:
        """Whether a read that failed stands for the end of file; a peer that went away is noted."""
        if is_gone(error):
            self.has_lost_peer = True
            self._row.finish(Outcome.RESET)
        return self.is_over and isinstance(error, BlockingIOError)

    def end(self) -> None:
        """Let the handler read an end of file after what the kernel has taken. In a signal handler, too, and again."""
        try:
            if not self._is_unix and not self.is_over:
                unread = int.from_bytes(ioctl(self.fileno(), _FIONREAD, bytes(4)), sys.byteorder)
                self.is_over, self._left = True, unread
            if self._is_unix or self.gettimeout() is not None:
                super().shutdown(socket.SHUT_RD)
            else:
                # A read that waits ends. After SHUT_RD the kernel would answer what comes during `linger` by a reset.
                self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _AT_ONCE)
        except OSError:
            pass  # it is gone: there is nothing left to read


class Session(_Reading):
    """One connection, in the child that serves it."""

    __slots__ = ()

    # For a handler that knows of them

    @property
    def peer(self) -> PeerInfo:
        """Who is at the other end: `uid`, `gid`, `pid`, `groups` (a set); each None where the kernel does not say."""
        return PeerInfo(self._peer, groups(self) if self._is_unix else None)

    def count(self, name: str, count: int = 1) -> None:
        """Count `count` more of a counter that the handler's class names in `counters`.

        Raises ValueError: it does not, or `count` is negative.
        """
        self._row.count(name, count)

    def detach(self) -> int:
        """As socket.detach. Nothing more is counted, and nothing ends the connection but the end of the child."""
        self.is_detached = True
        return super().detach()

    def dup(self) -> socket.socket:  # type: ignore[override]
        """As socket.dup: a plain socket, by which nothing is counted."""
        copy = socket.socket(self.family, self.type, self.proto, os.dup(self.fileno()))
        copy.settimeout(self.gettimeout())
        return copy

    # Writing

    def send(self, data: Any, flags: int = 0) -> int:
        try:
            size = _send(self, data, flags)
        except OSError as error:
            self._is_end(error)
            raise
        self._row.sent(size)
        return size

    def sendall(self, data: Any, flags: int = 0) -> None:
        """As socket.sendall. What a slow reader takes is noted piece by piece."""
        rest = data if type(data) is bytes else memoryview(data).cast("B")
        if not rest:
            return
        if self.gettimeout() is None:
            try:
                sent = self.send(rest, flags | _DONTWAIT)
                if sent == len(rest):
                    return
                rest = memoryview(rest)[sent:]
            except BlockingIOError:
                rest = memoryview(rest)
        end = monotonic() + (self.gettimeout() or math.inf) if rest else 0.0
        while rest:
            rest = rest[self.send(rest[:PIECE], flags) :]
            if rest and monotonic() > end:
                raise TimeoutError("timed out")

    def sendmsg(self, buffers: Iterable[Any], ancdata: Any = (), flags: int = 0, address: Any = None) -> int:
        try:
            size = super().sendmsg(buffers, ancdata, flags, address)
        except OSError as error:
            self._is_end(error)
            raise
        self._row.sent(size)
        return size

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        return self._sendfile_use_send(file, offset, count)  # type: ignore[attr-defined, no-any-return]

    # Ending

    def linger(self) -> None:
        """Where the connection is over before its client ended it: discard what it still sends, for a moment."""
        try:
            super().shutdown(socket.SHUT_WR)
            end = monotonic() + LINGER_SECONDS
            while (left := end - monotonic()) > 0:
                self.settimeout(left)
                if not _recv(self, 65536):
                    break
        except OSError:
            pass  # it is gone, or the time is over

    def say_end(self) -> None:
        """Have the peer see the end: the parent still holds the connection, and perhaps a file of the handler's."""
        try:
            super().shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the peer was faster

    def _real_close(self, *arguments: Any) -> None:
        """Close for good, as the handler may do by itself."""
        self.say_end()
        super()._real_close(*arguments)  # type: ignore[misc]
