"""Drives a client that copies between its standard streams and the daemon, and compares its output byte by byte."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from typing import IO, NamedTuple

from running import DEADLINE

LINE = "hello, straße ﬁn Ωμέγα ñ 𐐨 ŉ ΐ язык 日本語: a line of plain words, and of letters of one to four bytes\n"
MESSAGES = ("hello\n", "zwei: straße\n", "\n", "τρία, 𐐨\n", f"{'long ' * 500}ﬁn\n", "and the last\n")
MEBIBYTE = 1 << 20


class Service(NamedTuple):
    """Where the daemon listens."""

    path: str
    port: int
    """The TCP port on the loopback address."""


class Text:
    """A text of at least 100 MiB in a file, and its answer. Its lines repeat, its cuts at 64 KiB do not."""

    def __init__(self, file: IO[bytes]) -> None:
        lines = 8191
        block = LINE.encode() * lines
        times = -(-100 * MEBIBYTE // len(block))
        for _ in range(times):
            file.write(block)
        file.flush()
        self.path = file.name
        self.lines = lines * times
        self.answer = LINE.upper().encode() * (lines * 2)
        """Twice the answer to a block, so that the output expected next is always one slice."""
        self.period = len(self.answer) // 2
        self.size = self.period * times
        """Bytes of the whole answer."""


class Client:
    """A running client, which sends what is written to `send`, and prints what it receives."""

    def __init__(self, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
        assert process.stdout is not None
        self.process = process
        self._errors = errors
        self._output = process.stdout.fileno()

    @property
    def errors(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode()

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def end_input(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()

    def can_read(self, seconds: float) -> bool:
        """Whether the client prints something, or ends, within this time."""
        return bool(select.select([self._output], [], [], seconds)[0])

    def read(self, size: int = MEBIBYTE) -> bytes:
        """What is printed next; empty when the client has ended."""
        if not self.can_read(DEADLINE):
            raise AssertionError(f"the client prints nothing for {DEADLINE:g} s: it hangs; {self.errors}")
        return os.read(self._output, size)

    def read_lines(self, count: int) -> bytes:
        """Read this many lines, or up to the end."""
        data = b""
        while data.count(b"\n") < count and (block := self.read()):
            data += block
        return data

    def end(self) -> None:
        """Check that after the end of its input the client prints nothing more, and ends in order."""
        self.end_input()
        assert self.read() == b""
        assert (self.process.wait(DEADLINE), self.errors) == (0, "")


@contextlib.contextmanager
def client(command: list[str], stdin: IO[bytes] | int = subprocess.PIPE) -> Iterator[Client]:
    """Run a client; kill it afterwards if it still lives."""
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, bufsize=0, stdin=stdin, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        try:
            yield Client(process, errors)
        finally:
            process.kill()


def call(command: list[str], data: bytes) -> bytes:
    """Make one call: send everything, shut down the sending side, read the answer to its end."""
    with client(command) as running:
        running.send(data)
        running.end_input()
        answer = b"".join(iter(running.read, b""))
        running.end()
    return answer


def converse(running: Client) -> None:
    """Send several messages on one connection, each after the whole answer to the one before."""
    for message in MESSAGES:
        running.send(message.encode())
        assert running.read_lines(1) == message.upper().encode()


def expect(running: Client, text: Text) -> None:
    """Compare the output with the answer to the text, every byte, as it arrives."""
    with contextlib.suppress(PermissionError):  # the kernel limits the large pipes of an ordinary user
        fcntl.fcntl(running.process.stdout, fcntl.F_SETPIPE_SZ, MEBIBYTE)
    at = 0
    while at < text.size:
        block = running.read()
        start = at % text.period
        if block != text.answer[start : start + len(block)]:
            raise AssertionError(f"{len(block)} bytes that begin at {at} are not those of the answer")
        if not block:
            raise AssertionError(f"the answer ends after {at} of {text.size} bytes; {running.errors}")
        at += len(block)
    assert at == text.size


@contextlib.contextmanager
def feeding(running: Client, text: Text) -> Iterator[None]:
    """Write the text to the client, through a pipe, during the block."""

    def feed() -> None:
        with open(text.path, "rb") as file, contextlib.suppress(BrokenPipeError):
            while block := file.read(65536):
                running.send(block)
            running.end_input()

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        yield
    except BaseException:
        running.process.kill()
        raise
    finally:
        feeder.join(DEADLINE)
