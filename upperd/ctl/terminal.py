"""The terminal, if there is one: colours where they are wanted, and waiting that ends when its size changes.

Nothing here draws: what is shown is made by who knows it, and passes through here for its colours.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from types import FrameType, TracebackType

STYLES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33}
"""Those of ECMA-48 (SGR) that every terminal has."""

DOT = "\u25cf" if (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf") else "*"
"""What a status begins with, where the terminal has it."""


def is_capable(descriptor: int) -> bool:
    """Whether there is a terminal that can do more than print."""
    return os.isatty(descriptor) and os.environ.get("TERM", "dumb") not in ("", "dumb")


def has_colour(descriptor: int) -> bool:
    """Whether colours are wanted there: on a terminal, unless NO_COLOR says otherwise (no-color.org)."""
    return is_capable(descriptor) and not os.environ.get("NO_COLOR")


class Paint:
    """Gives a text a colour, or leaves it as it is where none is wanted."""

    def __init__(self, is_on: bool = False) -> None:
        self.is_on = is_on

    def __call__(self, text: str, *styles: str) -> str:
        """The text in these STYLES."""
        if not (self.is_on and text and styles):
            return text
        return f"\x1b[{';'.join(str(STYLES[style]) for style in styles)}m{text}\x1b[0m"


PLAIN = Paint()
"""Colours nothing."""


class Waiter:
    """Waits until a moment comes, a descriptor can be read, or the terminal changes its size; a context manager.

    Ctrl-C ends a wait, too, as KeyboardInterrupt.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> Waiter:
        self._before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._handler = signal.signal(signal.SIGWINCH, _note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGWINCH, self._handler)
        signal.set_wakeup_fd(self._before)
        os.close(self._read)
        os.close(self._write)

    def wait(self, seconds: float, *descriptors: int) -> list[int]:
        """Wait at most so many seconds; returns which of the descriptors can be read. Empty: time, or a signal."""
        ready, _, _ = select.select([self._read, *descriptors], [], [], max(0.0, seconds))
        if self._read in ready:
            os.read(self._read, 4096)
        return [descriptor for descriptor in ready if descriptor != self._read]


def _note(number: int, frame: FrameType | None) -> None:
    """There must be a handler, so that the signal reaches the descriptor."""
