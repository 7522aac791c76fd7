"""The end of a session loses nothing that the kernel had taken, in either direction."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import threading
from time import monotonic
from typing import Any

import pytest
from sessions import connected

from upperd.server import session
from upperd.server.layout import Outcome
from upperd.server.session import LINGER_SECONDS

both = pytest.mark.parametrize("kind", ["unix", "tcp"])


def _upper(session: socket.socket) -> None:
    while data := session.recv(10_000):
        session.sendall(data.upper())


@both
def test_what_had_been_taken_is_answered(kind: str) -> None:
    """After `end`, also repeated, a read returns all that had arrived by then, and then an end of file each time."""
    with connected(kind) as pair:
        pair.client.sendall(b"a" * 25_000)
        assert pair.session.recv(100) == b"a" * 100
        pair.session.end()
        pair.session.end()
        _upper(pair.session)
        pair.session.linger()
        pair.session.close()
        with pair.client.makefile("rb") as answers:
            assert answers.read() == b"A" * 24_900
        assert pair.figures("bytes_in", "outcome") == [25_000, Outcome.NONE]


def test_a_unix_client_can_write_no_more() -> None:
    """After `end` the next write of a Unix client fails, so the client knows what was not taken."""
    with connected() as pair:
        pair.session.end()
        with pytest.raises(BrokenPipeError):
            pair.client.sendall(b"more")
        assert pair.session.recv(10) == b""


def test_what_a_tcp_client_sends_later_is_not_read() -> None:
    """On TCP, where the client can go on writing, only data that had arrived at `end` is read."""
    with connected("tcp") as pair:
        pair.client.sendall(b"before")
        assert pair.session.recv(3) == b"bef"
        pair.session.end()
        pair.client.sendall(b"after")
        assert pair.session.recv(100) == b"ore"
        assert pair.session.recv(100) == b""
        assert pair.session.recv_into(bytearray(10)) == 0
        assert pair.session.recvmsg(10)[0] == b""


@both
def test_an_end_during_a_read(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the end comes just as a read returns, the data left in the kernel is still read."""
    with connected(kind) as pair:
        pair.client.sendall(b"a" * 25_000)
        recv = session._recv

        def interrupted(*arguments: Any) -> bytes:
            monkeypatch.undo()
            data = recv(*arguments)
            pair.session.end()
            return data

        monkeypatch.setattr(session, "_recv", interrupted)
        _upper(pair.session)
        assert pair.figures("bytes_in") == [25_000]


def test_the_last_answer_survives_a_client_that_goes_on() -> None:
    """On TCP a client that goes on sending still reads the whole last answer, and then the end, not a reset."""
    with connected("tcp") as pair:
        pair.client.sendall(b"x" * 1000)
        assert pair.session.recv(1000, socket.MSG_WAITALL)
        pair.session.end()
        pair.session.sendall(b"y" * 100_000)
        pair.client.sendall(b"more" * 1000)
        thread = threading.Thread(target=pair.session.linger)
        thread.start()
        with pair.client.makefile("rb") as answers:
            assert len(answers.read()) == 100_000
        pair.client.sendall(b"more")
        pair.client.shutdown(socket.SHUT_WR)
        thread.join()
        pair.session.close()
        assert pair.client.recv(1) == b""


def test_lingering_ends() -> None:
    """If a client sends for ever, the end of the session waits for it only a moment."""
    with connected("tcp") as pair:
        pair.session.end()
        stop = threading.Event()

        def send() -> None:
            with contextlib.suppress(OSError):
                while not stop.is_set():
                    pair.client.send(b"more" * 100)

        thread = threading.Thread(target=send)
        thread.start()
        start = monotonic()
        pair.session.linger()
        assert LINGER_SECONDS <= monotonic() - start < LINGER_SECONDS + 5
        stop.set()
        pair.session.close()  # it may wait in send()
        thread.join()


def test_no_lingering_without_an_end_of_ours() -> None:
    """The end of the session does not wait for a connection that its client has ended."""
    with connected("tcp") as pair:
        pair.client.shutdown(socket.SHUT_WR)
        _upper(pair.session)
        assert not pair.session.is_over


@both
def test_an_end_wakes_a_read(kind: str) -> None:
    """A handler that waits in a read while SIGTERM calls `end` reads an end of file."""
    with connected(kind) as pair:
        before = signal.signal(signal.SIGTERM, lambda *_: pair.session.end())
        timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGTERM))
        timer.start()
        try:
            assert pair.session.recv(10) == b""
        finally:
            timer.join()
            signal.signal(signal.SIGTERM, before)


@both
def test_an_end_after_the_end(kind: str) -> None:
    """Ending a closed connection, or one that the peer has reset, is no error."""
    with connected(kind) as pair:
        pair.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        pair.client.close()
        pair.session.end()
        pair.session.linger()
        pair.session.close()
        pair.session.end()
        pair.session.linger()


def test_a_close_is_seen_though_the_parent_holds_the_connection() -> None:
    """The peer reads the end when the session is closed, but not before its file objects are."""
    with connected() as pair, pair.session.dup():
        file = pair.session.makefile("wb")
        pair.session.close()
        pair.client.setblocking(False)
        with pytest.raises(BlockingIOError):
            pair.client.recv(1)
        file.write(b"last")
        file.close()
        pair.client.settimeout(30)
        assert (pair.client.recv(9), pair.client.recv(9)) == (b"last", b"")


def test_a_detached_session_is_not_ended() -> None:
    """A handler that uses socket.detach keeps the connection open."""
    with connected() as pair, socket.socket(fileno=pair.session.detach()) as kept:
        pair.session.close()
        kept.sendall(b"x")
        assert pair.client.recv(1) == b"x"
