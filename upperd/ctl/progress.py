"""Shows the progress of a transfer: one line on standard error, if that is a terminal that does not show the text."""

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
"""The rate is the average of the last seconds. An average of the whole transfer would not show a stall."""


def is_wanted(source: int) -> bool:
    """Whether to show progress: on a terminal on which the text is neither typed nor printed."""
    if not is_capable(2) or os.isatty(source):
        return False
    if not os.isatty(1):
        return True
    names = {os.ttyname(1), os.ttyname(2)}
    return len(names) == 2 and "/dev/tty" not in names  # /dev/tty may be the same terminal as the other


def size_of(source: int) -> int | None:
    """The bytes that are left to read from a descriptor; None: unknown."""
    status = os.fstat(source)
    # A file that the kernel generates on reading has no blocks, and no true size: 0 in /proc, a page in /sys.
    if not stat.S_ISREG(status.st_mode) or not status.st_blocks:
        return None
    return status.st_size - os.lseek(source, 0, os.SEEK_CUR)


class Line:
    """Draws the progress of a transfer again and again, on the line of the cursor."""

    def __init__(self, total: int | None, console: Console | None = None) -> None:
        """`total`: bytes of the whole text; None: unknown."""
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
        """Draw `done` bytes, at most every DRAW_SECONDS. If a file outgrows its total, `done` becomes the total."""
        self._done = done
        if self._total is not None and done > self._total:
            self._total = done
        self._progress.update(self._task, completed=done, total=self._total)
        if time.monotonic() - self._drawn >= DRAW_SECONDS:
            self._drawn = time.monotonic()
            self._draw()

    def complete(self) -> None:
        """Show the transfer as complete, even if the file was shorter than its size."""
        if self._total is not None:
            self._progress.update(self._task, completed=self._done, total=self._done)

    def clear(self) -> None:
        """Erase the line, so that another can be printed; the next `show` draws below that one."""
        with suppress(OSError):
            os.write(2, b"\r\x1b[2K")

    def end(self) -> None:
        """Draw for the last time, and move to the next line."""
        self._draw()
        with suppress(OSError):
            self._progress.stop()

    def _draw(self) -> None:
        # The transfer goes on if the terminal is gone.
        with suppress(OSError):
            self._progress.start()
            self._console.show_cursor()  # otherwise it stays hidden if a signal ends us
            self._progress.refresh()
