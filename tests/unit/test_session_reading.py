"""A session that reads: it behaves like any socket, and counts what it reads."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest
from sessions import connected

from upperd.server.layout import Outcome
from upperd.server.session import Session, is_gone


def _recv_into(session: Session, size: int, flags: int = 0) -> bytes:
    buffer = bytearray(size + 1)
    return bytes(buffer[: session.recv_into(buffer, size, flags)])


def _recv_into_all(session: Session, size: int, flags: int = 0) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: session.recv_into(memoryview(buffer), 0, flags)])


def _recvfrom(session: Session, size: int, flags: int = 0) -> bytes:
    data, address = session.recvfrom(size, flags)
    assert address is None
    return data


def _recvfrom_into(session: Session, size: int, flags: int = 0) -> bytes:
    buffer = bytearray(size)
    count, address = session.recvfrom_into(buffer, 0, flags)
    assert address is None
    return bytes(buffer[:count])


def _recvmsg(session: Session, size: int, flags: int = 0) -> bytes:
    return session.recvmsg(size, 0, flags)[0]


def _recvmsg_into(session: Session, size: int, flags: int = 0) -> bytes:
    buffers = bytearray(size // 2), bytearray(size - size // 2)
    count = session.recvmsg_into(buffers, 0, flags)[0]
    return b"".join(buffers)[:count]


READS = [Session.recv, _recv_into, _recv_into_all, _recvfrom, _recvfrom_into, _recvmsg, _recvmsg_into]
Read = Callable[..., bytes]
each_read = pytest.mark.parametrize("read", READS, ids=lambda read: read.__name__.lstrip("_"))


@each_read
def test_every_way_to_read_counts(read: Read) -> None:
    """Each way to read returns the data in order, and counts it; an end of file counts as nothing."""
    with connected() as pair:
        pair.client.sendall(b"hello")
        assert (read(pair.session, 3), read(pair.session, 9)) == (b"hel", b"lo")
        assert pair.figures("messages", "bytes_in") == [2, 5]
        pair.client.shutdown(socket.SHUT_WR)
        assert read(pair.session, 9) == b""
        assert pair.figures("messages", "bytes_in", "outcome") == [2, 5, Outcome.NONE]


@each_read
def test_a_look_counts_nothing(read: Read) -> None:
    """Data that is only peeked at is there for the next read, counts once, and does not use up the limit."""
    with connected(max_bytes=5) as pair:
        pair.client.sendall(b"hello")
        for _ in range(3):
            assert read(pair.session, 5, socket.MSG_PEEK) == b"hello"
        assert pair.figures("messages", "bytes_in") == [0, 0]
        assert read(pair.session, 5) == b"hello"
        assert pair.figures("messages", "bytes_in") == [1, 5]


@each_read
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_max_bytes(read: Read, kind: str) -> None:
    """The allowed number of bytes is read, data beyond it becomes an end of file, and that is counted once."""
    with connected(kind, max_bytes=8) as pair:
        pair.client.sendall(b"0123456789")
        assert (read(pair.session, 5), read(pair.session, 100)) == (b"01234", b"567")
        assert [read(pair.session, 100) for _ in range(3)] == [b""] * 3
        assert pair.figures("bytes_in", "ended_bytes", "outcome") == [8, 1, Outcome.BYTES]


@each_read
def test_exactly_max_bytes(read: Read) -> None:
    """A client that sends exactly the limit, and ends, has not sent too much."""
    with connected(max_bytes=8) as pair:
        pair.client.sendall(b"01234567")
        pair.client.shutdown(socket.SHUT_WR)
        assert (read(pair.session, 100), read(pair.session, 100)) == (b"01234567", b"")
        assert pair.figures("bytes_in", "ended_bytes", "outcome") == [8, 0, Outcome.NONE]


def test_a_client_learns_that_it_sent_too_much() -> None:
    """Beyond the limit a Unix client can write no more, and still reads its answer to the end."""
    with connected(max_bytes=4) as pair:
        pair.client.sendall(b"01234567")
        assert (pair.session.recv(100), pair.session.recv(100)) == (b"0123", b"")
        with pytest.raises(BrokenPipeError):
            pair.client.sendall(b"more")
        pair.session.sendall(b"answer")
        pair.session.linger()
        pair.session.close()
        assert pair.client.recv(100) == b"answer"
        assert pair.client.recv(100) == b""


def test_lines_of_makefile_count() -> None:
    """A file object of the session counts and limits its reads and writes, as StreamRequestHandler needs it."""
    with connected(max_bytes=9) as pair:
        pair.client.sendall(b"one\ntwo\nthree\n")
        with pair.session.makefile("rwb") as file:
            assert file.readline() == b"one\n"
            file.write(b"ONE\n")
            file.flush()
            assert list(file) == [b"two\n", b"t"]
        assert pair.client.recv(100) == b"ONE\n"
        assert pair.figures("bytes_in", "bytes_out", "ended_bytes") == [9, 4, 1]
        assert pair.session.fileno() >= 0


def test_descriptors_of_a_client_are_passed_on() -> None:
    """recvmsg returns ancillary data, as for any socket."""
    with connected() as pair:
        reading, writing = os.pipe()
        socket.send_fds(pair.client, [b"x"], [writing])
        data, ancillary, _, _ = pair.session.recvmsg(10, socket.CMSG_SPACE(4))
        [(_, kind, descriptor)] = ancillary
        assert (data, kind) == (b"x", socket.SCM_RIGHTS)
        for number in (reading, writing, *struct.unpack("=i", descriptor)):
            os.close(number)


@each_read
def test_a_peer_that_resets(read: Read) -> None:
    """A peer's reset is an error for the handler, as with any socket, and is noted in the row."""
    with connected("tcp") as pair:
        pair.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        pair.client.close()
        with pytest.raises(ConnectionResetError) as raised:
            read(pair.session, 10)
        assert is_gone(raised.value)
        assert pair.figures("outcome") == [Outcome.RESET]


@each_read
def test_a_non_blocking_session(read: Read) -> None:
    """Without a byte to read a non-blocking session raises BlockingIOError, which is no end."""
    with connected() as pair:
        pair.session.setblocking(False)
        with pytest.raises(BlockingIOError):
            read(pair.session, 10)
        assert pair.figures("outcome") == [Outcome.NONE]


def test_wrong_arguments() -> None:
    """Wrong arguments raise the same errors as with any socket."""
    wrong: Any = None
    with connected(max_bytes=5) as pair:
        for call in (lambda: pair.session.recv(-1), lambda: pair.session.recv_into(bytearray(1), 2)):
            with pytest.raises(ValueError, match="negative|too small"):
                call()
        with pytest.raises(TypeError):
            pair.session.recv(wrong)
