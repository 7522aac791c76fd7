"""The client library against a real daemon, one that is restarted or killed, and one that is not upperd."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from running import DEADLINE, Daemon, running, wait_until

from upperd.base import paths
from upperd.client import (
    Client,
    ClientError,
    NoDaemonError,
    ReplyTimeoutError,
    ShortReplyError,
    client,
    finding,
    patience,
    upper,
)


@contextmanager
def stranger(path: Path, *serve: Callable[[socket.socket], object]) -> Iterator[threading.Thread]:
    """A server that treats each of its connections differently, one after the other."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(DEADLINE)

        def work() -> None:
            for function in serve:
                with listener.accept()[0] as connection:
                    connection.settimeout(DEADLINE)
                    function(connection)

        thread = threading.Thread(target=work)
        thread.start()
        yield thread
        thread.join()


def half(connection: socket.socket) -> None:
    connection.recv(100)
    connection.sendall(b"HAL")


def whole(connection: socket.socket) -> None:
    connection.sendall(connection.recv(100).upper())


def test_library(daemon: Daemon) -> None:
    """The client library serves one call, or many on one connection, with texts of any length."""
    assert upper("straße\nzwei", str(daemon.path)) == "STRASSE\nZWEI"
    with Client(str(daemon.path)) as made:
        assert [made.upper(word) for word in ("a", "", "\n", "ß" * 1_000_000)] == ["A", "", "\n", "SS" * 1_000_000]
    assert daemon.stop() == 0
    assert daemon.board.header["connections"] == 2


def test_library_keeps_bytes(daemon: Daemon) -> None:
    """Invalid UTF-8 comes back unchanged, in a text as os.fsdecode() decodes it, or as bytes."""
    with Client(str(daemon.path)) as made:
        assert made.upper("a\udcff") == "A\udcff"
        assert made.upper_bytes(b"\xffa\xc3") == b"\xffA\xc3"
        with pytest.raises(UnicodeEncodeError):
            made.upper("\ud800")
        assert made.upper("b") == "B"


def test_library_finds_the_daemon(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address the library looks where upperctl does."""
    monkeypatch.setattr(paths, "SYSTEM_SOCKET", str(daemon.path))
    monkeypatch.setattr(paths, "client_sockets", lambda *of_whom: [str(daemon.path)])
    assert upper("x") == "X"


def test_library_over_tcp(folder: Path) -> None:
    """The library takes a TCP address, too."""
    with running(folder, "--tcp", "127.0.0.1:0") as daemon:
        address = next(name for name in daemon.board.listeners if name.startswith("tcp:")).split()[0]
        assert upper("straße", tcp=address.removeprefix("tcp:")) == "STRASSE"


def test_restart_between_calls(folder: Path) -> None:
    """A client survives a restart of the daemon: the next call reconnects, and the caller notices nothing."""
    with running(folder) as first:
        made = Client(str(first.path))
        assert made.upper("one") == "ONE"
        first.stop()
    with running(folder) as second, made:
        assert made.upper("two") == "TWO"
        assert second.board.busy == 1


def test_restart_in_the_middle_of_a_call(folder: Path) -> None:
    """A call whose child is killed while it answers is repeated: the answer is whole, and comes from another child."""
    text = "x" * 30_000_000
    with running(folder) as daemon, Client(str(daemon.path)) as made:
        assert made.upper("who") == "WHO"
        served = next(child["pid"] for child in daemon.board.children if not child["waiting"])
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(made.upper(text)))
        asking.start()
        wait_until(lambda: any(child["bytes_in"] > 100_000 for child in daemon.board.children), "it is under way")
        os.kill(served, signal.SIGKILL)
        asking.join(DEADLINE)
        assert answers == [text.upper()]
        wait_until(lambda: daemon.board.header["crashed"] == 1, "the end of the first is counted")


def test_daemon_that_is_gone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a daemon a call retries for `restart` seconds, then raises NoDaemonError; the next raises it at once."""
    with running(folder) as daemon, Client(str(daemon.path), restart=0.3) as made:
        assert made.upper("x") == "X"
        daemon.stop()
        begin = time.monotonic()
        with pytest.raises(NoDaemonError, match="no socket at"):
            made.upper("y")
        assert time.monotonic() - begin >= 0.3
        monkeypatch.setattr(patience.Patience, "pause", None)
        with pytest.raises(NoDaemonError, match="no socket at"):
            made.upper("z")


def test_call_while_the_daemon_is_away(folder: Path) -> None:
    """A call between the end of a daemon and the start of the next waits for the next daemon."""
    with running(folder) as first:
        made = Client(str(first.path))
        assert made.upper("one") == "ONE"
        first.stop()
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(made.upper("two")))
    asking.start()
    with running(folder), made:
        asking.join(DEADLINE)
        assert answers == ["TWO"]


def test_connection_that_ended_is_not_used(folder: Path) -> None:
    """A connection that ended between two calls is noticed before a byte is sent, so no handler gets a text twice."""
    with stranger(folder / "s", whole, whole), Client(str(folder / "s")) as made:
        assert made.ask_once(b"one") == b"ONE"
        wait_until(lambda: not client.is_usable(made._connection, is_fresh=False), "its end")
        assert made.ask_once(b"two") == b"TWO"


def test_client_of_another_process(daemon: Daemon) -> None:
    """If two processes use a client after a fork(2), the child process makes a connection of its own."""
    with Client(str(daemon.path)) as made:
        assert made.upper("before") == "BEFORE"
        if (pid := os.fork()) == 0:
            answers = [made.upper(f"child {number}") for number in range(200)]
            os._exit(0 if answers == [f"CHILD {number}" for number in range(200)] else 1)
        assert [made.upper(f"parent {number}") for number in range(200)] == [f"PARENT {n}" for n in range(200)]
        assert os.waitpid(pid, 0)[1] == 0
    assert daemon.stop() == 0
    assert daemon.board.header["connections"] == 2


def test_client_recovers_after_an_error(folder: Path) -> None:
    """After an error the same client works again as soon as a daemon runs again."""
    with running(folder) as daemon:
        made = Client(str(daemon.path), restart=0)
        daemon.stop()
    with pytest.raises(NoDaemonError):
        made.upper("x")
    with running(folder), made:
        assert made.upper("y") == "Y"


def test_short_reply_is_tried_again(folder: Path) -> None:
    """An answer that ends early is never returned, but asked for again; if that keeps failing, ShortReplyError."""
    with stranger(folder / "s", half, half, whole, *[half] * (1 + patience.MOST_SHORT)):
        assert upper("half a line", str(folder / "s")) == "HALF A LINE"
        with pytest.raises(ShortReplyError, match="closed early"):
            upper("half a line", str(folder / "s"))


def test_answer_of_a_stranger(folder: Path) -> None:
    """An answer longer than expected raises ShortReplyError, and its rest does not reach the next call."""

    def talk(connection: socket.socket) -> None:
        connection.recv(100)
        connection.sendall(b"X\nMORE\nEVEN MORE")

    with (
        stranger(folder / "s", talk),
        pytest.raises(ShortReplyError, match="does the daemon's handler answer line by line"),
    ):
        upper("x", str(folder / "s"))


def test_no_answer_in_time(folder: Path) -> None:
    """A server that does not answer is given up after the time-out; the next call does not get its late answer."""
    asked = threading.Event()

    def stall(connection: socket.socket) -> None:
        connection.recv(100)
        assert asked.wait(DEADLINE)

    with stranger(folder / "s", stall, whole), Client(str(folder / "s"), timeout=0.05) as made:
        with pytest.raises(ReplyTimeoutError, match="no answer in time"):
            made.upper("x")
        asked.set()
        made._timeout = DEADLINE
        assert made.upper("y") == "Y"


def test_answer_that_nobody_reads_in_time(folder: Path) -> None:
    """A server that reads nothing is given up after the time-out, too."""
    asked = threading.Event()
    with stranger(folder / "s", lambda connection: asked.wait(DEADLINE)):
        with Client(str(folder / "s"), timeout=0.05) as made, pytest.raises(ReplyTimeoutError):
            made.upper("x" * 10_000_000)
        asked.set()


def test_full_queue(folder: Path) -> None:
    """If the daemon's queue is full, connecting waits as long as the time-out says, and no longer."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        listener.listen(0)
        with Client(str(folder / "s"), timeout=0.05), pytest.raises(ReplyTimeoutError, match="no room in the backlog"):
            upper("x", str(folder / "s"), timeout=0.05)


def test_closed_client() -> None:
    """A closed client stays closed: a call raises ValueError."""
    ends = socket.socketpair()
    made = Client.__new__(Client)
    made._connection, made._is_closed = ends[0], False
    made._timeout, made._restart, made._tell = None, 0, None
    made.close()
    with pytest.raises(ValueError, match="closed"):
        made.upper("x")
    assert ends[1].recv(1) == b""
    ends[1].close()


def test_interrupted_call_leaves_no_rest(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """After Ctrl-C during a call the next call gets its own answer, on another connection."""
    with Client(str(daemon.path)) as made:

        def interrupted(*_: object) -> bytes:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(client, "receive_some", interrupted)
            with pytest.raises(KeyboardInterrupt):
                made.upper("first")
        assert made.upper("second") == "SECOND"


def test_errors_have_one_root() -> None:
    """Every error of a call is a ClientError with an exit status of sysexits(3)."""
    found = {kind.__name__: kind.status for kind in ClientError.__subclasses__()}
    assert found == {"NoDaemonError": 69, "AccessError": 77, "ShortReplyError": 76, "ReplyTimeoutError": 75}
    assert finding.ClientError is ClientError


def test_handler_that_answers_before_it_is_asked(folder: Path) -> None:
    """A handler may answer and close before it reads: its answer is used, and the client does not reconnect."""
    path = folder / "early.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        with client.Client(str(path)) as made:
            with listener.accept()[0] as connection:
                connection.sendall(b"no\n")
            assert made.ask_once(b"please") == b"no"
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
