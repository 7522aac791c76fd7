"""The progress line: its content, and its width."""

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from upperd.ctl.progress import Line, size_of

SYSTEM = "/sys/kernel/mm/transparent_hugepage/enabled"
"""A file of about ten bytes whose size is given as a page."""


def drawn(total: int | None, *done: int, columns: int = 80) -> str:
    """What a terminal of this width shows at the end of a transfer with these steps."""
    written = io.StringIO()
    line = Line(total, Console(file=written, force_terminal=True, color_system=None, width=columns))
    for count in done:
        line.show(count)
    line.end()
    return written.getvalue().replace("\x1b[?25l", "").replace("\x1b[?25h", "").rpartition("\x1b[2K")[2]


def test_known_size() -> None:
    """With a known size the line has share, bytes of the total, rate (as yet unknown), and the time left."""
    line = drawn(200_000_000, 50_000_000)
    assert line.startswith(" 25% ")
    assert "50.0 MB of 200.0 MB ? " in line
    assert "-:--:--" in line


def test_unknown_size() -> None:
    """Without a known size the line has bytes, rate and the time taken, and no share."""
    assert drawn(None, 50_000_000).split() == ["50.0", "MB", "?", "0:00:00"]


@pytest.mark.parametrize("columns", [*range(1, 60, 7), 80, 200])
@pytest.mark.parametrize("total", [None, 10**18])
def test_any_width(columns: int, total: int | None) -> None:
    """The line is never wider than the terminal."""
    assert [line for line in drawn(total, 10**17, columns=columns).splitlines() if len(line) > columns] == []


def test_file_that_grows() -> None:
    """A file that has grown is at 100 %, and no more."""
    line = drawn(1000, 5000)
    assert line.startswith("100% ")
    assert "5.0 kB of 5.0 kB" in line


def test_file_that_shrinks() -> None:
    """A file that has shrunk is at 100 % at the end."""
    written = io.StringIO()
    line = Line(4096, Console(file=written, force_terminal=True, color_system=None, width=80))
    line.show(23)
    line.complete()
    line.end()
    last = written.getvalue().rpartition("\x1b[2K")[2]
    assert last.startswith("100% ")
    assert "23 B of 23 B" in last.replace("bytes", "B")


def test_size_of(tmp_path: Path) -> None:
    """The size is that of the rest of a file; for a pipe, and for files that the kernel generates, it is unknown.

    A file in /sys says a page, whatever it has.
    """
    (tmp_path / "file").write_bytes(b"x" * 100)
    reading, writing = os.pipe()
    with open(tmp_path / "file", "rb") as file, open("/proc/self/stat", "rb") as made_up, open(SYSTEM, "rb") as page:
        os.read(file.fileno(), 30)
        assert size_of(file.fileno()) == 70
        assert [size_of(number) for number in (reading, made_up.fileno(), page.fileno())] == [None] * 3
    os.close(reading)
    os.close(writing)
