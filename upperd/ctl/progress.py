"""How far a transfer is: one line on standard error, where a person sees it and the text is not there."""

from __future__ import annotations

import os
import stat
import time
from contextlib import suppress

from rich import progress as rich_progress
from rich.console import Console

from upperd.ctl.output import has_colour, is_capable

DRAW_SECONDS = 0.1
RATE_SECONDS = 5.0
"""The rate is that of so many seconds past: one of the whole would not show a daemon that stalls."""


def is_wanted(source: int) -> bool:
    """Whether to show progress: on a terminal that shows neither the text itself nor what is typed as such."""
    if not is_capable(2) or os.isatty(source):
        return False
    if not os.isatty(1):
        return True
    names = {os.ttyname(1), os.ttyname(2)}
    return len(names) == 2 and "/dev/tty" not in names  # which may be either


def size_of(source: int) -> int | None:
    """The bytes that are still to be read from a descriptor; None: it cannot be known."""
    status = os.fstat(source)
    # A file that the kernel makes up while it is read has no blocks, whatever its size is: 0 in /proc, a page in /sys.
    if not stat.S_ISREG(status.st_mode) or not status.st_blocks:
        return None
    return status.st_size - os.lseek(source, 0, os.SEEK_CUR)


class Line:
    """Draws how far a transfer is, over and over, on the line where the cursor is."""

    def __init__(self, total: int | None, console: Console | None = None) -> None:
        """`total`: bytes in all; None: unknown."""
        moved, rate = rich_progress.FileSizeColumn(), rich_progress.TransferSpeedColumn()
        columns = [moved, rate, rich_progress.TimeElapsedColumn()]
        if total is not None:
            bar = rich_progress.BarColumn(24, complete_style="green", finished_style="green")
            of_all = [rich_progress.TextColumn("of"), rich_progress.TotalFileSizeColumn()]
            left = rich_progress.TimeRemainingColumn(elapsed_when_finished=True)
            columns = [rich_progress.TaskProgressColumn(), bar, moved, *of_all, rate, left]
        self._console = console or Console(stderr=True, no_color=not has_colour(2))
        self._progress = rich_progress.Progress(
            *columns,
            console=self._console,
            auto_refresh=False,
            speed_estimate_period=RATE_SECONDS,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._total, self._done = total, 0
        self._task = self._progress.add_task("", total=total)
        self._drawn = -DRAW_SECONDS

    def show(self, done: int) -> None:
        """So many bytes are done: draw that, unless it has just been drawn. A file that grows has so many in all."""
        self._done = done
        if self._total is not None and done > self._total:
            self._total = done
        self._progress.update(self._task, completed=done, total=self._total)
        if time.monotonic() - self._drawn >= DRAW_SECONDS:
            self._drawn = time.monotonic()
            self._draw()

    def complete(self) -> None:
        """That was all, also of a file that has become shorter."""
        if self._total is not None:
            self._progress.update(self._task, completed=self._done, total=self._done)

    def clear(self) -> None:
        """Make room for another line; ours comes again below it."""
        with suppress(OSError):
            os.write(2, b"\r\x1b[2K")

    def end(self) -> None:
        """Draw a last time, and go to the next line."""
        self._draw()
        with suppress(OSError):
            self._progress.stop()

    def _draw(self) -> None:
        # A terminal that is gone is no reason to end the transfer.
        with suppress(OSError):
            self._progress.start()
            self._console.show_cursor()  # or it stays hidden where a signal ends us
            self._progress.refresh()
