"""A terminal of the test's own (pty(7)), and a program that runs in it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from typing import Any

from running import DEADLINE

ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """The master side: reads what the program writes, and types keys."""

    def __init__(self, rows: int = 24, columns: int = 80) -> None:
        self.screen, self.tty = pty.openpty()
        fcntl.ioctl(self.tty, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.raw = b""
        """All output to the terminal."""
        self._seen = 0

    @property
    def shown(self) -> str:
        """All output, without the escape sequences of ECMA-48."""
        return ESCAPES.sub(b"", self.raw).decode("utf-8", "replace").replace("\r\n", "\n")

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self.screen, text.encode())

    def wait_for(self, text: str, deadline: float = DEADLINE) -> None:
        """Wait until this has been shown, after the text that was awaited before."""
        end = time.monotonic() + deadline
        while (found := self.shown.find(text, self._seen)) < 0:
            assert time.monotonic() < end, f"not within {deadline:g} s: {text!r} in {self.shown!r}"
            assert self._read(0.2) is not None, f"the program ended without {text!r}: {self.shown!r}"
        self._seen = found + len(text)

    def _read(self, seconds: float) -> bool | None:
        """Read what there is; None if every program has left the terminal."""
        if not select.select([self.screen], [], [], seconds)[0]:
            return False
        try:
            block = os.read(self.screen, 65536)
        except OSError:  # EIO
            return None
        self.raw += block
        return bool(block) or None

    def drain(self) -> None:
        """Read until nothing has come for a moment."""
        while self._read(0.05):
            pass

    def wait_end(self, process: subprocess.Popen[bytes]) -> int:
        """Read until the program has ended; return its exit status."""
        end = time.monotonic() + DEADLINE
        while process.poll() is None:
            assert time.monotonic() < end, f"it does not end: {self.shown!r}"
            self._read(0.05)
        self.drain()
        return process.returncode

    @contextlib.contextmanager
    def program(self, *command: str, environ: dict[str, str] | None = None, **popen: Any) -> Iterator[Any]:
        """Run a program whose terminal this is: its 0, 1 and 2, except those that `popen` sets."""

        def take_over() -> None:
            os.setsid()
            fcntl.ioctl(tty, termios.TIOCSCTTY, 0)

        tty = self.tty
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), tty) | popen
        environ = {**os.environ, "TERM": "xterm", **(environ or {})}
        process = subprocess.Popen(command, env=environ, preexec_fn=take_over, **streams)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()

    def close(self) -> None:
        os.close(self.screen)
        os.close(self.tty)
