"""A program on a terminal of its own, and the screen that a person would see."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator

import pyte
from running import DEADLINE, wait_until

CTL = [sys.executable, "-m", "upperd.ctl.main"]


class Terminal:
    """A terminal with a program in it."""

    def __init__(self, command: list[str], columns: int, lines: int, environ: dict[str, str]) -> None:
        self.master, self.tty = pty.openpty()
        os.set_blocking(self.master, False)
        self.raw = b""
        """All output to the terminal."""
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.set_size(columns, lines)
        self.before = termios.tcgetattr(self.tty)
        base = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")}
        # A session of its own, with this as its terminal, so that keys are signals.
        self.process = subprocess.Popen(
            command,
            stdin=self.tty,
            stdout=self.tty,
            stderr=self.tty,
            env={**base, "TERM": "xterm-256color", **environ},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def set_size(self, columns: int, lines: int) -> None:
        """Give the terminal another size, as resizing its window does."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", lines, columns, 0, 0))
        self._screen.resize(lines, columns)

    def press(self, keys: str) -> None:
        """Type these keys."""
        os.write(self.master, keys.encode())

    def screen(self) -> list[str]:
        """The lines on the screen now, without blanks at the end."""
        while select.select([self.master], [], [], 0)[0]:
            try:
                data = os.read(self.master, 65536)
            except (OSError, BlockingIOError):
                break
            self.raw += data
            self._stream.feed(data)
        return [line.rstrip() for line in self._screen.display]

    def wait_for(self, *texts: str) -> list[str]:
        """Wait until all of these are on the screen; return it."""
        return self.wait_until(lambda screen: all(text in "\n".join(screen) for text in texts), f"{texts} to be shown")

    def wait_until(self, predicate: Callable[[list[str]], bool], message: str) -> list[str]:
        """Wait until the screen satisfies the condition; return it."""
        try:
            return wait_until(lambda: [screen for screen in [self.screen()] if predicate(screen)], message)[0]
        except AssertionError as error:
            raise AssertionError("\n".join([str(error), *self.screen()])) from None

    def wait(self) -> int:
        """Wait for the end of the program; return its exit status, negative for a signal."""
        wait_until(lambda: [self.screen(), self.process.poll()][1] is not None, "the program ends")
        self.screen()
        return self.process.wait(DEADLINE)

    def is_as_before(self) -> bool:
        """Whether the modes of the terminal are those that the program found."""
        return termios.tcgetattr(self.tty) == self.before

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        os.close(self.tty)
        os.close(self.master)


@contextlib.contextmanager
def terminal(
    *arguments: str, command: list[str] | None = None, columns: int = 80, lines: int = 24, **environ: str
) -> Iterator[Terminal]:
    """upperctl, or another program, on a terminal of this size; killed afterwards if it still lives."""
    shown = Terminal(command or [*CTL, *arguments], columns, lines, environ)
    try:
        yield shown
    finally:
        shown.close()
