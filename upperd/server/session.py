"""`self.request` of a handler: a socket that counts, enforces `max_bytes`, and can be ended by the parent.

For the handler it is an ordinary `socket.socket`. It counts all traffic, through `makefile` as well, in the child's row
of the scoreboard, so every handler has figures and limits without extra code.

It ends a connection without losing a byte. Unix: after SHUT_RD the client's next write fails; the handler reads what
the kernel has received and an end of file, answers, and then the connection is closed. TCP, where SHUT_RD stops
nothing: the handler reads what has arrived and an end of file; SHUT_WR follows the answer, and what the client still
sends is discarded for a moment, because a reset would destroy the last answer.
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
"""From asm-generic/ioctls.h: the number of bytes that can be read (tcp(7), SIOCINQ)."""
_AT_ONCE = struct.pack("@ll", 0, 1)
"""struct timeval: one microsecond, because 0 means no limit (socket(7), SO_RCVTIMEO)."""
_UNLIMITED = sys.maxsize
_GONE = (ETIMEDOUT, EHOSTUNREACH, ENETUNREACH)
"""Errors of TCP for a peer that no longer answers (tcp(7), "Error handling"; ip(7)), besides ConnectionError."""
PIECE = 16384
"""Bytes of an answer sent at once to a slow client: when it takes so many, it is not idle."""
LINGER_SECONDS = 0.5
"""How long to discard what a client still sends after its connection was ended."""

_recv, _send = socket.socket.recv, socket.socket.send


def is_gone(error: BaseException | None) -> bool:
    """Whether an error says that the peer is no longer there."""
    return isinstance(error, ConnectionError) or (isinstance(error, OSError) and error.errno in _GONE)


class _Reading(socket.socket):
    """The reading half of a session."""

    __slots__ = ("_is_unix", "_left", "_peer", "_row", "has_lost_peer", "is_detached", "is_over")

    def attach(self, row: Row, peer: Peer = NOT_KNOWN, *, is_unix: bool, max_bytes: int = 0) -> None:
        """Count in `row`, and read at most `max_bytes`; 0: no limit."""
        self._row = row
        self._peer = peer
        self._is_unix = is_unix
        self._left = max_bytes or _UNLIMITED
        """Bytes that may still be read."""
        self.is_over = self.is_detached = self.has_lost_peer = False
        """Whether the connection is being ended: only what has arrived by now is read."""

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
        """Call `read` with a size and flags that the limits allow; `nothing` at the end of file. As in `recv`."""
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
        """Count the result of a read, unless it only peeked.

        `was_over`: whether the connection was being ended before the read. If that began during the read, `_left` does
        not include these bytes.
        """
        if size and not flags & _PEEK:
            if was_over is self.is_over:
                self._left -= size
            self._row.received(size)

    def _allowed(self, flags: int) -> tuple[int, int]:
        """The size and flags of a read that asks for more than is allowed; size 0: end of file."""
        if self.is_over:
            return self._left, flags | _DONTWAIT
        if self._left > 0:
            return self._left, flags
        if _recv(self, 1, flags):  # the client has sent all it may, and now one byte more
            self._row.ended_by_size()
            self.end()
            self.is_over, self._left = True, 0
        return 0, flags

    def _is_end(self, error: OSError) -> bool:
        """Whether an error of a read means end of file. Notes a peer that has gone."""
        if is_gone(error):
            self.has_lost_peer = True
            self._row.finish(Outcome.RESET)
        return self.is_over and isinstance(error, BlockingIOError)

    def end(self) -> None:
        """Let the handler read an end of file after what the kernel has received. Safe in signal handlers."""
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
            pass  # the peer has gone: nothing is left to read


class Session(_Reading):
    """One connection, in the child that serves it."""

    __slots__ = ()

    # For handlers that use them

    @property
    def peer(self) -> PeerInfo:
        """The peer: `uid`, `gid`, `pid`, `groups` (a set); None where the kernel does not say."""
        return PeerInfo(self._peer, groups(self) if self._is_unix else None)

    def count(self, name: str, count: int = 1) -> None:
        """Add `count` to a counter that the handler's class lists in `counters`.

        Raises ValueError if it is not listed, or `count` is negative.
        """
        self._row.count(name, count)

    def detach(self) -> int:
        """As socket.detach. Nothing more is counted, and only the end of the child ends the connection."""
        self.is_detached = True
        return super().detach()

    def dup(self) -> socket.socket:  # type: ignore[override]
        """As socket.dup: a plain socket, which counts nothing."""
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
        """As socket.sendall. Counts piece by piece, so that a slow reader is not idle."""
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
        """After ending a connection: discard for a moment what the client still sends."""
        try:
            super().shutdown(socket.SHUT_WR)
            end = monotonic() + LINGER_SECONDS
            while (left := end - monotonic()) > 0:
                self.settimeout(left)
                if not _recv(self, 65536):
                    break
        except OSError:
            pass  # the peer has gone, or the time is over

    def say_end(self) -> None:
        """Let the peer see the end although the parent, or a file of the handler, still holds the connection."""
        try:
            super().shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the peer has gone already

    def _real_close(self, *arguments: Any) -> None:
        """Close for good; the handler may do so itself."""
        self.say_end()
        super()._real_close(*arguments)  # type: ignore[misc]
