"""How far a transfer is: one line on standard error, where somebody looks at it and the text is not there."""

from __future__ import annotations

import os
import stat
import sys
import time
from collections import deque

from upperd.base.text import size
from upperd.ctl.terminal import Paint, has_colour, is_capable

DRAW_SECONDS = 0.1
BAR = 24
"""Columns that the bar has at the most; where there are less than 8 for it, there is none."""
RATE_SECONDS = 5.0
"""The rate is that of so many seconds past: one of the whole would not show a daemon that stalls."""


def is_wanted(source: int) -> bool:
    """Whether to show progress: on a terminal that shows neither the text itself nor what is typed as such."""
    return is_capable(2) and not os.isatty(source) and not (os.isatty(1) and _is_same_terminal())


def _is_same_terminal() -> bool:
    names = {os.ttyname(1), os.ttyname(2)}
    return len(names) == 1 or "/dev/tty" in names  # which may be either


def size_of(source: int) -> int | None:
    """The bytes that are still to be read from a descriptor; None: nobody knows."""
    status = os.fstat(source)
    if not stat.S_ISREG(status.st_mode):
        return None
    # A file that the kernel makes up while it is read has the size 0 (proc(5)).
    return status.st_size - os.lseek(source, 0, os.SEEK_CUR) if status.st_size else None


class Progress:
    """The line, and what it needs to know; the clock is the caller's in `update` and `line`."""

    def __init__(self, total: int | None, now: float) -> None:
        """`total`: bytes in all; None: unknown. `now`: seconds."""
        self._total = total
        self._started = now
        self._past = deque([(now, 0)])

    def update(self, done: int, now: float) -> None:
        """So many bytes are done."""
        self._past.append((now, done))
        while len(self._past) > 2 and self._past[1][0] < now - RATE_SECONDS:
            self._past.popleft()

    def line(self, columns: int, is_over: bool = False) -> str:
        """The line for a terminal of this width: share, bar, bytes, rate, time left; at the end, of the whole."""
        (first, before), (now, done) = self._past[0], self._past[-1]
        if is_over:
            first, before = self._started, 0
        rate = (done - before) / (now - first) if now > first else 0.0
        parts = [size(done) if self._total is None else f"{size(done)} of {size(self._total)}", f"{size(int(rate))}/s"]
        if is_over or self._total is None:
            parts.append(f"in {_clock(now - self._started)}" if is_over else _clock(now - self._started))
        elif rate > 0:
            parts.append(f"{_clock(max(0, self._total - done) / rate)} left")
        text = "  ".join(parts)
        if self._total is not None:
            share = min(1.0, done / self._total)
            text = f"{int(share * 100):3}%  {self._bar(share, min(BAR, columns - len(text) - 9))}{text}"
        return text[: max(0, columns - 1)]

    @staticmethod
    def _bar(share: float, width: int) -> str:
        if width < 8:
            return ""
        full = int(share * (width - 2))
        return f"[{'#' * full}{'-' * (width - 2 - full)}]  "


def _clock(seconds: float) -> str:
    """1:05, or 2:00:09."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


class Line:
    """Draws a Progress over and over on the line where the cursor is."""

    def __init__(self, total: int | None) -> None:
        self._progress = Progress(total, time.monotonic())
        self._drawn = -DRAW_SECONDS
        self._done = 0
        self._paint = Paint(has_colour(2))

    def show(self, done: int) -> None:
        """So many bytes are done: draw that, unless it has just been drawn."""
        now = time.monotonic()
        if now - self._drawn >= DRAW_SECONDS:
            self._drawn = now
            self._progress.update(done, now)
            self._draw(self._progress.line(_columns()))
        self._done = done

    def end(self, is_whole: bool) -> None:
        """Draw a last time, and go to the next line. `is_whole`: all went well."""
        self._progress.update(self._done, time.monotonic())
        line = self._progress.line(_columns(), is_over=is_whole)
        self._draw(self._paint(line, "green" if is_whole else "yellow"), "\n")

    def _draw(self, line: str, end: str = "") -> None:
        if not _is_in_foreground():
            return
        try:
            os.write(2, f"\r{line}\x1b[K{end}".encode(sys.stderr.encoding or "ascii", "replace"))
        except OSError:
            pass  # nobody looks any more


def _columns() -> int:
    try:
        return os.get_terminal_size(2).columns or 80
    except OSError:
        return 80


def _is_in_foreground() -> bool:
    """Whether the terminal is ours: one that was put into the background does not draw over the others."""
    try:
        return os.tcgetpgrp(2) == os.getpgrp()
    except OSError:
        return True  # it does not control us
