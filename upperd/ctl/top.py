"""`upperctl top`: the children of the daemon, live; without a terminal, one picture.

picture.py draws it. This file handles the terminal: its keys, its size, and its state, which it restores.
"""

from __future__ import annotations

import argparse
import os
import re
import select
import shutil
import signal
import termios
import time
import tty

from upperd.ctl import view
from upperd.ctl.output import fail, is_capable, pause, show
from upperd.ctl.picture import picture
from upperd.ctl.rows import TOP, History, Order
from upperd.ctl.screen import drawn, make_live

FIRST_LOOK = 0.5
"""Seconds between the first two looks, from which the first rates come."""
_KEYS = {
    b"\x1b[A": "k", b"\x1b[B": "j", b"\x1b[C": ">", b"\x1b[D": "<", b"\x1b[5~": "page up", b"\x1b[6~": "page down",
}  # fmt: skip
"""The letters that do the same as the arrow keys, by what those send."""


def run(arguments: argparse.Namespace) -> int:
    """Show the children until a key ends it; returns the exit status."""
    daemon = view.find(arguments.socket)
    if daemon.is_denied:
        return fail(os.EX_NOPERM, view.explain(daemon))
    if not arguments.once and is_capable(0) and is_capable(1):
        return _Top(arguments).run()
    if daemon.snapshot is None:
        return fail(os.EX_UNAVAILABLE, view.explain(daemon))
    history = History()
    daemon = _look(history, arguments.socket)
    if daemon.state != view.NOT_RUNNING:
        pause(FIRST_LOOK)
        daemon = _look(history, arguments.socket)
    width = shutil.get_terminal_size().columns
    show(drawn(picture(width, daemon, history, Order(arguments.sort)), width=width))
    return 0


def _look(history: History, socket: str | None) -> view.DaemonView:
    daemon = view.find(socket).load_usages()
    history.add(daemon, time.monotonic())
    return daemon


class _Top:
    """The live picture."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._socket: str | None = arguments.socket
        self._interval: float = arguments.interval
        self._order = Order(arguments.sort)
        self._history = History()
        self._is_over = self._is_paused = False
        self._page = 1
        self._before = termios.tcgetattr(0)
        self._live = make_live()

    def run(self) -> int:
        """Run until q; Ctrl-C raises KeyboardInterrupt. The terminal is restored in every case."""
        # The wakeup descriptor ends a wait: select(2) alone would miss a signal that comes just before it.
        signals, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
        for number in (signal.SIGTSTP, signal.SIGWINCH):
            signal.signal(number, _note)
        try:
            self._enter()
            self._loop(signals)
        except OSError:
            return os.EX_IOERR  # the terminal is gone
        finally:
            self._leave()
        return 0

    def _enter(self) -> None:
        tty.setcbreak(0)
        self._live.start()

    def _leave(self) -> None:
        self._live.stop()
        termios.tcsetattr(0, termios.TCSAFLUSH, self._before)

    def _stop(self) -> None:
        """Ctrl-Z: restore the terminal, stop, and draw again when we are continued."""
        self._leave()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, _note)
        self._enter()

    def _loop(self, signals: int) -> None:
        daemon = _look(self._history, self._socket)
        due = time.monotonic() + min(FIRST_LOOK, self._interval)
        while not self._is_over:
            width, height = self._live.console.size
            self._page = max(1, height - 11)
            note = "paused: space goes on" if self._is_paused else ""
            self._live.update(picture(width, daemon, self._history, self._order, height, note), refresh=True)
            ready, _, _ = select.select([0, signals], [], [], max(0.0, due - time.monotonic()))
            if signals in ready and signal.SIGTSTP in os.read(signals, 4096):
                self._stop()
            if 0 in ready:
                self._take_keys(os.read(0, 1024))
            if time.monotonic() >= due:
                if not self._is_paused:
                    daemon = _look(self._history, self._socket)
                due = time.monotonic() + self._interval

    def _take_keys(self, data: bytes) -> None:
        self._is_over = not data  # the terminal is gone
        for key in re.findall(rb"\x1b\[\d*[A-Z~]|.", data, re.DOTALL):
            self._take_key(_KEYS.get(key, key.decode("latin-1")))

    def _take_key(self, key: str) -> None:
        order = self._order
        if step := {">": 1, "<": -1}.get(key):
            fields = list(TOP)
            self._order = Order(fields[(fields.index(order.field) + step) % len(fields)], first=order.first)
        elif step := {"j": 1, "k": -1, "page down": self._page, "page up": -self._page}.get(key):
            last = max(0, len(self._history.rows) - self._page)
            self._order = order._replace(first=min(last, max(0, order.first + step)))
        elif key in "rR":
            self._order = order._replace(is_reversed=not order.is_reversed)
        elif key == " ":
            self._is_paused = not self._is_paused
        elif key in "+-":
            self._interval = min(60.0, self._interval * 2) if key == "+" else max(0.25, self._interval / 2)
        elif key in "qQ":
            self._is_over = True


def _note(*_: object) -> None:
    """Does nothing: a signal with a handler is written to the wakeup descriptor."""
