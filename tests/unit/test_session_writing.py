"""A session that writes: it counts what the kernel took, and loses or repeats nothing."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest
from sessions import Pair, connected

from upperd.server.layout import ACTIVE, Outcome
from upperd.server.session import PIECE

LARGE = os.urandom(1 << 16) * 16
"""More than the buffers of a connection hold."""


def _reader(client: socket.socket) -> tuple[threading.Thread, list[bytes]]:
    """Reads to the end, in a thread."""
    found: list[bytes] = []

    def read() -> None:
        while data := client.recv(1 << 16):
            found.append(data)

    thread = threading.Thread(target=read)
    thread.start()
    return thread, found


def _finish(pair: Pair, thread: threading.Thread) -> None:
    pair.session.shutdown(socket.SHUT_WR)
    thread.join()


def test_small_answers_count() -> None:
    """The bytes that send, sendall and sendmsg hand to the kernel are counted, whatever their type."""
    with connected() as pair:
        assert pair.session.send(b"ab") == 2
        pair.session.sendall(memoryview(b"cdef").cast("H"))
        pair.session.sendall(b"")
        assert pair.session.sendmsg([b"g", bytearray(b"hi")]) == 3
        assert pair.client.recv(100) == b"abcdefghi"
        assert pair.figures("bytes_out") == [9]


@pytest.mark.parametrize("kind", ["unix", "tcp"])
@pytest.mark.parametrize("timeout", [None, 30.0])
def test_large_answers_arrive_whole(kind: str, timeout: float | None) -> None:
    """An answer larger than every buffer arrives whole, in order, and is counted once."""
    with connected(kind) as pair:
        pair.session.settimeout(timeout)
        thread, found = _reader(pair.client)
        pair.session.sendall(LARGE)
        _finish(pair, thread)
        assert b"".join(found) == LARGE
        assert pair.figures("bytes_out") == [len(LARGE)]


def test_sendfile_counts(tmp_path: Path) -> None:
    """sendfile sends the requested part of a file from its offset on, and counts it."""
    path = tmp_path / "file"
    path.write_bytes(LARGE)
    with connected() as pair, path.open("rb") as file:
        thread, found = _reader(pair.client)
        assert pair.session.sendfile(file, 10, 200_000) == 200_000
        _finish(pair, thread)
        assert b"".join(found) == LARGE[10:200_010]
        assert pair.figures("bytes_out") == [200_000]


def test_a_slow_reader_is_not_idle() -> None:
    """Each piece that a slow reader takes is noted while the answer is still being sent."""
    with connected() as pair:
        pair.session.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * PIECE)
        thread = threading.Thread(target=pair.session.sendall, args=(LARGE,))
        thread.start()
        moments = set()
        left = len(LARGE)
        while left:
            left -= len(pair.client.recv(PIECE))
            moments.add(pair.words[ACTIVE])
        thread.join()
        assert len(moments) > 3


def test_sendall_with_a_time_limit() -> None:
    """If a client reads nothing sendall raises TimeoutError when its time is over, and says what was taken."""
    with connected() as pair:
        pair.session.settimeout(0.05)
        with pytest.raises(TimeoutError):
            pair.session.sendall(LARGE)
        [taken] = pair.figures("bytes_out")
        pair.session.shutdown(socket.SHUT_WR)
        thread, found = _reader(pair.client)
        thread.join()
        assert 0 < taken == len(b"".join(found)) < len(LARGE)


def test_sendall_that_must_not_block() -> None:
    """A non-blocking sendall sends as long as the kernel takes it, and then raises BlockingIOError, as any socket."""
    with connected() as pair:
        pair.session.setblocking(False)
        pair.session.sendall(LARGE[: 4 * PIECE])
        assert pair.figures("bytes_out") == [4 * PIECE]
        with pytest.raises(BlockingIOError):
            pair.session.sendall(LARGE)


@pytest.mark.parametrize("by", ["send", "sendall", "sendmsg"])
def test_a_peer_that_went_away(by: str) -> None:
    """Writing to a peer that is gone is an error for the handler, as with any socket, and is noted in the row."""
    with connected() as pair:
        pair.client.close()
        with pytest.raises(BrokenPipeError):
            getattr(pair.session, by)([b"x"] if by == "sendmsg" else b"x")
        assert pair.figures("outcome", "bytes_out") == [Outcome.RESET, 0]


def test_a_copy_is_a_plain_socket() -> None:
    """dup returns a separate socket for the same connection, with the same time-out, which counts nothing."""
    with connected() as pair:
        pair.session.settimeout(7)
        with pair.session.dup() as copy:
            assert (type(copy), copy.gettimeout()) == (socket.socket, 7)
            assert copy.fileno() != pair.session.fileno()
            copy.sendall(b"x")
        assert pair.client.recv(9) == b"x"
        assert pair.figures("bytes_out") == [0]
        pair.session.sendall(b"y")
        assert pair.client.recv(9) == b"y"
