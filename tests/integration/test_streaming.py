"""Text in, upper case out, over every kind of listener."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from running import COMMAND, DEADLINE, Daemon, activated, ask_on, free_port, read_exactly, read_to_end, running

TEXT = "hello, straße ﬁn Ωμέγα ñ 𐐨".encode()
UPPER = TEXT.decode().upper().encode()


@contextmanager
def serving(kind: str, folder: Path) -> Iterator[tuple[Daemon, object]]:
    """A daemon with one listener of this kind, and where to connect."""
    family, origin = kind.split()
    path, port = folder / "upperd.sock", free_port()
    address: object = str(path) if family == "unix" else ("127.0.0.1", port)
    if origin == "bound":
        options = [] if family == "unix" else ["--no-socket", "--tcp", f"127.0.0.1:{port}"]
        command = None if family == "unix" else options
        with running(folder, command=_command(command, folder)) as daemon:
            yield daemon, address
        return
    with socket.socket(socket.AF_UNIX if family == "unix" else socket.AF_INET) as listener:
        listener.bind(address)
        listener.listen()
        with running(folder, **activated(folder, [listener], "--scoreboard", str(folder / "scoreboard"))) as daemon:
            yield daemon, address


def _command(options: list[str] | None, folder: Path) -> list[str] | None:
    return None if options is None else [*COMMAND, *options, "--scoreboard", str(folder / "scoreboard")]


@pytest.fixture(params=["unix bound", "unix activated", "tcp bound", "tcp activated"])
def address(request: pytest.FixtureRequest, folder: Path) -> Iterator[object]:
    with serving(request.param, folder) as (_, address):
        yield address


def connect(address: object) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    connection.settimeout(DEADLINE)
    connection.connect(address)
    return connection


def test_one_call(address: object) -> None:
    """A client that sends everything and half-closes gets all of it back in upper case."""
    with connect(address) as connection:
        assert ask_on(connection, TEXT) == UPPER


def test_conversation(address: object) -> None:
    """A client that sends a chunk and waits for its answer gets it at once, again and again."""
    with connect(address) as connection:
        for word in ("one", "zwei ß", "τρία"):
            connection.sendall(word.encode())
            expected = word.upper().encode()
            assert read_exactly(connection, len(expected)) == expected


@pytest.mark.parametrize("size", [448, 449, 1000, 16000])
def test_message_is_answered_in_one_piece(address: object, size: int) -> None:
    """A message that arrived as a whole is answered as a whole, so one recv() gets it, also the first one."""
    for _ in range(20):
        with connect(address) as connection:
            for _ in range(2):
                connection.sendall(b"x" * size)
                assert connection.recv(65536) == b"X" * size


def test_cut_sequence_waits(address: object) -> None:
    """A character cut in two is answered when its second half arrives, and the text before it at once."""
    with connect(address) as connection:
        connection.sendall(b"a" + "é".encode()[:1])
        assert read_exactly(connection, 1) == b"A"
        connection.sendall("é".encode()[1:])
        assert read_exactly(connection, 2) == "É".encode()


def test_not_utf8_comes_back(address: object) -> None:
    """Bytes that are not UTF-8 come back unchanged, an unfinished sequence at the end of file too."""
    with connect(address) as connection:
        assert ask_on(connection, b"a\xff\xc0b\xed\xa0\x80c\xe2\x82") == b"A\xff\xc0B\xed\xa0\x80C\xe2\x82"


def test_large_stream(address: object) -> None:
    """Ten megabytes of mixed text come back while they are still being sent."""
    block, rest = TEXT * 400, 10_000_000
    with connect(address) as connection:
        while rest > 0:
            connection.sendall(block)
            assert read_exactly(connection, len(UPPER) * 400) == UPPER * 400
            rest -= len(block)
        connection.shutdown(socket.SHUT_WR)
        assert read_to_end(connection) == b""


def test_messages_and_bytes_are_counted(daemon: Daemon) -> None:
    """The scoreboard counts every connection, message, byte and undecodable byte."""
    for _ in range(5):
        daemon.ask(b"abc\xff")
    daemon.stop()
    header = daemon.board.header
    figures = [header[name] for name in ("connections", "bytes_in", "bytes_out", "undecodable")]
    assert figures == [5, 20, 20, 5]
    assert header["messages"] >= 5
