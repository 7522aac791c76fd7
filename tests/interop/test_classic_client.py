"""The tutorial's interactive client: a line without its newline to localhost:9999, and one `recv(1024)`."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import COMMAND, DEADLINE, running, wait_until
from talking import Client, client
from tools import missing

PROGRAM = str(Path(__file__).parent / "programs" / "classic.py")

pytestmark = pytest.mark.xdist_group("localhost:9999")


def _is_taken() -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", 9999)) == 0


@pytest.fixture(scope="module")
def _daemon() -> Iterator[None]:
    """A daemon on localhost:9999, where this client looks."""
    try:
        wait_until(lambda: not _is_taken(), "the port is free, which a daemon of another test may have fallen back to")
    except AssertionError:
        missing("localhost:9999 is taken on this host")
    try:
        socket.getaddrinfo("localhost", 9999)
    except OSError:  # this client asks the resolver, as most do
        missing("localhost does not resolve on this host: /etc/hosts")
    with tempfile.TemporaryDirectory(prefix="upperd-") as folder:
        command = [*COMMAND, "--no-socket", "--tcp", "localhost:9999", "--scoreboard", f"{folder}/scoreboard"]
        with running(Path(folder), command=command):
            yield


@pytest.fixture
def classic(_daemon: None) -> Iterator[Client]:
    with client([sys.executable, PROGRAM]) as running:
        yield running


def _say(classic: Client, line: str) -> str:
    """Type a line; return what is printed below it."""
    classic.send(f"{line}\n".encode())
    return classic.read_lines(1).decode().removesuffix("\n")


def test_classic_conversation(classic: Client) -> None:
    """The tutorial's client gets its answer to each line, up to 1024 bytes in upper case, by one recv(1024)."""
    for line in ("hello", "straße", "ŉ" * 341, " ", "Ωμέγα 𐐨", "x" * 1024, "ß" * 512, "bye"):
        assert _say(classic, line) == line.upper()
    classic.end()


def test_classic_long_line(classic: Client) -> None:
    """After a line of more than 1024 bytes the tutorial's client is behind: it prints the rest below the next lines.

    Nothing is lost: its output is the stream of all answers, in order, in pieces of at most 1024 bytes.
    """
    lines = ["a" * 3000, "b", "c", "d", "e", "f"]
    printed = [_say(classic, line) for line in lines]
    assert max(map(len, printed)) <= 1024
    assert "".join(lines).upper().startswith("".join(printed))
    assert set(printed[0]) == set(printed[1]) == {"A"}


def test_classic_cut_character(classic: Client) -> None:
    """The tutorial's client ends with a UnicodeDecodeError if its 1024 bytes end inside a character."""
    classic.send(f"a{'é' * 600}\n".encode())
    assert classic.read() == b""
    assert classic.process.wait(DEADLINE) == 1
    assert "UnicodeDecodeError" in classic.errors
