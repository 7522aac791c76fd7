"""A stream outlives the daemon: no line is lost and none comes twice, in constant memory."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from itertools import repeat
from pathlib import Path

import pytest
from running import DEADLINE, Daemon, activated, open_files, running, wait_until

CTL = [sys.executable, "-m", "upperd.ctl.main"]
PACES = (0.01, 0.3, 1.5)
"""Seconds between two lines: busy, quiet for less than the drain's limit, and quiet for longer."""
RESTARTS, RELOADS, KILLS = 20, 20, 5
DRAINS = ("0.3", "1.2")
"""Seconds: a drain that cuts, and one that ends quiet connections."""


class Stream:
    """An `upperctl send` that gets a line now and then, each in two parts, cut in the middle of a letter."""

    def __init__(self, path: Path, pace: float, over: threading.Event) -> None:
        command = [*CTL, "--socket", str(path), "send"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
        self._pace, self._over = pace, over
        self.sent, self.printed = b"", b""
        self._seen = 0
        self._threads = [threading.Thread(target=work) for work in (self._feed, self._read)]
        for thread in self._threads:
            thread.start()

    def _feed(self) -> None:
        assert self._process.stdin is not None
        while not self._over.wait(self._pace):
            line = f"straße ÿ ﬁn {len(self.sent)}\n".encode()
            for part in (line[:5], line[5:]):
                self.sent += part
                self._process.stdin.write(part)
                self._process.stdin.flush()
                self._over.wait(min(self._pace / 2, 0.1))
        self._process.stdin.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while block := os.read(self._process.stdout.fileno(), 65536):
            self.printed += block

    def has_answers(self) -> bool:
        """Whether another line has been answered since the last call."""
        before, self._seen = self._seen, self.printed.count(b"\n")
        return self._seen > before

    def kill(self) -> None:
        """End the process if it still runs."""
        if self._process.poll() is None:
            self._process.kill()

    def end(self) -> tuple[int, bytes]:
        """Wait for its end; return the exit status and its standard error."""
        assert self._process.stderr is not None
        for thread in self._threads:
            thread.join(DEADLINE)
        complaint = self._process.stderr.read()
        self._process.stderr.close()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return self._process.wait(DEADLINE), complaint


@contextmanager
def held_socket(folder: Path) -> Iterator[Callable[..., AbstractContextManager[Daemon]]]:
    """A socket that outlives each daemon, as with a socket unit; yields a function that runs a daemon on it."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "upperd.sock"))
        listener.listen(128)
        where = ("--scoreboard", str(folder / "scoreboard"), "--spare-children", "2")
        yield lambda *options: running(folder, **activated(folder, [listener], *where, *options))


def kill_all(daemon: Daemon) -> None:
    """Send SIGKILL to the daemon and its children, as a manager does after the end of its main process."""
    children = daemon.children()
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def test_lines_outlive_every_daemon(folder: Path) -> None:
    """At every pace each line of a stream is answered once, in order, over restarts, reloads and kills."""
    over = threading.Event()
    with held_socket(folder) as start:
        streams: list[Stream] = []
        try:
            for number in range(RESTARTS + KILLS + 1):
                with start("--drain-timeout", DRAINS[number % 2]) as daemon:
                    streams = streams or [Stream(daemon.path, pace, over) for pace in PACES]
                    wait_until(streams[0].has_answers, "the stream goes on")
                    if number < RELOADS:
                        daemon.signal(signal.SIGHUP)
                        daemon.manager.wait_for("READY=1")
                    if number == RESTARTS + KILLS:
                        over.set()
                        assert [stream.end() for stream in streams] == [(0, b"")] * len(PACES)
                    kill_all(daemon) if number % 5 == 4 else daemon.stop()
        finally:
            over.set()
            for stream in streams:
                stream.kill()
    for stream in streams:
        assert stream.printed.decode() == stream.sent.decode().upper()
        assert stream.sent.count(b"\n") > 5


BLOCK = b"".join(b"line %07d of a large file, with some more words in it\n" % number for number in range(20_000))
SIZE = (1 << 30 if os.environ.get("CI") else 64 << 20) // len(BLOCK) * len(BLOCK)
MOST_KIB = 64 * 1024


def peak_kib(pid: int) -> int:
    """The peak memory of a process (proc(5), status, VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


def feed(process: subprocess.Popen[bytes], text: Iterable[bytes]) -> None:
    """Write a text to a program's standard input, and leave it open."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        for block in text:
            process.stdin.write(block)
        process.stdin.flush()


@pytest.mark.parametrize("has_lines", [True, False], ids=["lines", "one line"])
def test_large_file_in_constant_memory(folder: Path, has_lines: bool) -> None:
    """A gigabyte (in a full test run) survives three restarts, in constant memory, also as one line."""
    block = BLOCK if has_lines else BLOCK.replace(b"\n", "\N{LATIN SMALL LETTER SHARP S}".encode())
    size = SIZE if has_lines else 16 * len(BLOCK)
    answer, came, restarts = block.decode().upper().encode(), 0, 0
    total = size // len(BLOCK) * len(answer)
    command = [*CTL, "--socket", str(folder / "upperd.sock"), "send"]
    with held_socket(folder) as start, ExitStack() as stack:
        life = stack.enter_context(ExitStack())
        daemon = life.enter_context(start("--drain-timeout", "0.1"))
        process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        stack.callback(process.kill)
        assert process.stdout is not None
        assert process.stdin is not None
        feeding = threading.Thread(target=feed, args=(process, repeat(block, size // len(BLOCK))))
        feeding.start()
        while came < total:
            part = process.stdout.read1(1 << 16)
            at = came % len(answer)
            assert part == (answer + answer)[at : at + len(part)] if part else False
            came += len(part)
            if restarts < 3 and came >= total * (restarts + 1) // 4:
                restarts += 1
                daemon.stop()
                life.close()
                daemon = life.enter_context(start("--drain-timeout", "0.1"))
        feeding.join()
        assert peak_kib(process.pid) < MOST_KIB
        process.stdin.close()
        assert (process.stdout.read(), process.wait(DEADLINE), restarts) == (b"", 0, 3)


OTHER = """
import os
from socketserver import StreamRequestHandler
class H(StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            print("served", line, flush=True)
            if line.startswith(b"die"):
                os._exit(3)
            self.wfile.write(line)
"""


def test_other_handlers_get_nothing_twice(folder: Path) -> None:
    """If another handler's connection ends early the stream fails with an error: nothing is sent a second time."""
    (folder / "own.py").write_text(OTHER)
    options = ("--handler", f"{folder}/own.py:H")
    with running(folder, *options) as daemon:
        command = [*CTL, "--socket", str(daemon.path), "send"]
        done = subprocess.run(command, input=b"one\ndie\n", capture_output=True, timeout=DEADLINE)
        assert (done.returncode, done.stdout) == (76, b"one\n")
        assert b"1 line of the answer is missing" in done.stderr
        assert daemon.board.header["connections"] == 1


def test_end_of_a_quiet_connection_is_noticed(folder: Path) -> None:
    """When a quiet stream's connection is ended, the client closes it at once, and the next line uses another."""
    command = [*CTL, "--socket", str(folder / "upperd.sock"), "send"]
    with ExitStack() as stack:
        first = stack.enter_context(running(folder))
        process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        stack.callback(process.kill)
        assert process.stdin is not None
        assert process.stdout is not None

        def ask(line: bytes) -> bytes:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(line)
            process.stdin.flush()
            return process.stdout.readline()

        assert ask(b"one\n") == b"ONE\n"
        first.stop()
        wait_until(lambda: not any("socket" in name for name in open_files(process.pid)), "it closes its end")
        with running(folder):
            assert ask(b"two\n") == b"TWO\n"
            process.stdin.close()
            assert process.wait(DEADLINE) == 0
