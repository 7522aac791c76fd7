"""`upperctl top`: the children of the daemon, live; elsewhere than on a terminal one picture.

What is shown is drawn by picture.py. Here is the terminal: keys, its size, and that it is left as it was found.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import termios
import time
import tty
from types import FrameType

from rich.console import Console

from upperd.ctl import usage, view
from upperd.ctl.columns import SORTABLE, Order
from upperd.ctl.exits import EX_NOPERM, EX_UNAVAILABLE, fail
from upperd.ctl.history import History
from upperd.ctl.output import write_out
from upperd.ctl.picture import picture
from upperd.ctl.terminal import Waiter, is_capable

EXAMPLES = """keys:
  q  quit                 left, right (or <, >)  sort by another column
  r  reverse the order    up, down (or k, j), page up, page down  scroll
  space  pause            + -  look less often, more often

examples:
  upperctl top --sort mem
  upperctl top --once | head
"""
FIRST_LOOK = 0.5
"""Seconds between the first two looks, which make the first rates."""
_ENTER, _LEAVE = b"\x1b[?1049h\x1b[?25l\x1b[?7l", b"\x1b[?7h\x1b[?25h\x1b[?1049l"
"""The other screen, no cursor, and no second line for what is too long; and back."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.epilog = EXAMPLES
    parser.add_argument("--sort", metavar="FIELD", choices=SORTABLE, default="rate", help=", ".join(SORTABLE))
    parser.add_argument("--interval", metavar="SECONDS", type=_interval, default=1.0, help="between looks, else 1")
    parser.add_argument("--once", action="store_true", help="print one picture and end")


def _interval(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 3600:
        raise argparse.ArgumentTypeError("SECONDS is 0.1 to 3600")
    return value


def run(arguments: argparse.Namespace) -> int:
    """Show the children, until somebody has seen enough; returns the exit status."""
    sight = view.find(arguments.socket)
    if sight.is_denied:
        return fail(EX_NOPERM, view.explain(sight))
    if arguments.once or not (is_capable(0) and is_capable(1)):
        return _print_once(arguments, sight)
    return _Top(arguments).run()


def _look(history: History, socket: str | None) -> view.Sight:
    sight = view.find(socket)
    usages = {}
    if sight.snapshot is not None and sight.state != view.NOT_RUNNING:
        usages = usage.of_daemon(sight.snapshot)
    history.add(sight, usages, time.monotonic())
    return sight


def _print_once(arguments: argparse.Namespace, sight: view.Sight) -> int:
    if sight.snapshot is None:
        return fail(EX_UNAVAILABLE, view.explain(sight))
    history = History()
    sight = _look(history, arguments.socket)
    if sight.state != view.NOT_RUNNING:
        with Waiter() as waiter:
            waiter.wait(FIRST_LOOK)
        sight = _look(history, arguments.socket)
    console = Console(width=shutil.get_terminal_size().columns, highlight=False, markup=False, emoji=False)
    _draw(console, sight, history, Order(arguments.sort))
    return 0


def _draw(console: Console, sight: view.Sight, history: History, order: Order, **more: object) -> None:
    with console.capture() as capture:
        console.print(picture(console, sight, history, order, **more))  # type: ignore[arg-type]
    write_out(capture.get().encode(console.encoding, "replace"))


class _Top:
    """The live picture."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._socket: str | None = arguments.socket
        self._interval: float = arguments.interval
        self._order = Order(arguments.sort)
        self._history = History()
        self._console = Console(highlight=False, markup=False, emoji=False)
        self._is_over = self._is_paused = self._is_to_stop = False
        self._page = 1

    def run(self) -> int:
        """Until q; Ctrl-C comes out as KeyboardInterrupt. However it ends, the terminal is as it was before."""
        before = termios.tcgetattr(0)
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTSTP)}
        signal.signal(signal.SIGTERM, _end)
        signal.signal(signal.SIGHUP, _end)
        signal.signal(signal.SIGTSTP, self._note_stop)
        with Waiter() as waiter:
            try:
                self._enter()
                self._loop(waiter, before)
            finally:
                self._leave(before)
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        return 0

    def _enter(self) -> None:
        tty.setcbreak(0)
        write_out(_ENTER)

    def _leave(self, before: list[object]) -> None:
        write_out(_LEAVE)
        termios.tcsetattr(0, termios.TCSAFLUSH, before)  # type: ignore[arg-type]

    def _note_stop(self, number: int, frame: FrameType | None) -> None:
        self._is_to_stop = True

    def _stop(self, before: list[object]) -> None:
        """Ctrl-Z: give the terminal back, stop, and begin again."""
        self._is_to_stop = False
        self._leave(before)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self._note_stop)
        self._enter()

    def _loop(self, waiter: Waiter, before: list[object]) -> None:
        sight = _look(self._history, self._socket)
        due = time.monotonic() + min(FIRST_LOOK, self._interval)
        while not self._is_over:
            self._show(sight)
            if waiter.wait(due - time.monotonic(), 0):
                self._take_keys(os.read(0, 1024))
            if self._is_to_stop:
                self._stop(before)
            if time.monotonic() >= due:
                if not self._is_paused:
                    sight = _look(self._history, self._socket)
                due = time.monotonic() + self._interval

    def _show(self, sight: view.Sight) -> None:
        columns, lines = os.get_terminal_size(1)
        self._console.size = (columns, lines)
        self._page = max(1, lines - 10)
        note = "paused: space goes on" if self._is_paused else ""
        with self._console.capture() as capture:
            self._console.print(picture(self._console, sight, self._history, self._order, height=lines, note=note))
        frame = capture.get().rstrip("\n").split("\n")[:lines]
        # Cleared before it is written: after a line as long as the terminal is wide, its last letter would be cleared.
        data = "\x1b[H" + "\r\n".join(f"\x1b[2K{line}" for line in frame)
        if len(frame) < lines:
            data += "\r\n\x1b[J"
        write_out(data.encode(self._console.encoding, "replace"))

    def _take_keys(self, data: bytes) -> None:
        if not data:  # the terminal is gone
            self._is_over = True
        while data:
            key = next((name for name in _ESCAPES if data.startswith(name)), data[:1])
            data = data[len(key) :]
            self._take_key(_ESCAPES.get(key, key.decode("latin-1")))

    def _take_key(self, key: str) -> None:
        order = self._order
        step = {"right": 1, ">": 1, "left": -1, "<": -1}.get(key)
        way = {"down": 1, "j": 1, "up": -1, "k": -1, "next": self._page, "previous": -self._page}.get(key)
        if step is not None:
            field = SORTABLE[(SORTABLE.index(order.field) + step) % len(SORTABLE)]
            self._order = Order(field, first=order.first)
        elif way is not None:
            last = max(0, len(self._history.rows) - self._page)
            self._order = order._replace(first=min(last, max(0, order.first + way)))
        elif key in "rR":
            self._order = order._replace(is_reversed=not order.is_reversed)
        elif key == " ":
            self._is_paused = not self._is_paused
        elif key in "+-":
            self._interval = min(60.0, self._interval * 2) if key == "+" else max(0.25, self._interval / 2)
        elif key in "qQ":
            self._is_over = True


_ESCAPES = {
    prefix + letter: name
    for prefix in (b"\x1b[", b"\x1bO")
    for letter, name in ((b"A", "up"), (b"B", "down"), (b"C", "right"), (b"D", "left"))
} | {b"\x1b[5~": "previous", b"\x1b[6~": "next"}


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
