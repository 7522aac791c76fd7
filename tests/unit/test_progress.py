"""The promises of the progress line: what it says at which moment, and in how much room."""

import os
from pathlib import Path

import pytest

from upperd.ctl.progress import Progress, size_of

MEGA = 1_000_000


def test_known_size() -> None:
    """With a known size there are share, bar, bytes, rate and the time that is left."""
    progress = Progress(200 * MEGA, 0.0)
    progress.update(50 * MEGA, 1.0)
    assert progress.line(80) == " 25%  [#####-----------------]  50.0 MB of 200.0 MB  50.0 MB/s  0:03 left"


def test_unknown_size() -> None:
    """Without a known size there are bytes, rate and the time that it has taken, and no time left."""
    progress = Progress(None, 0.0)
    progress.update(50 * MEGA, 65.0)
    assert progress.line(80) == "50.0 MB  769.2 kB/s  1:05"


def test_end() -> None:
    """At the end stand the rate of the whole and the time that it took."""
    progress = Progress(100 * MEGA, 0.0)
    for second in range(1, 101):
        progress.update(second * second * 10_000, float(second))
    assert progress.line(80, is_over=True).endswith("100.0 MB of 100.0 MB  1.0 MB/s  in 1:40")


def test_rate_is_of_late() -> None:
    """The rate is that of the last seconds: where nothing comes any more it is nothing, and no time left is said."""
    progress = Progress(100 * MEGA, 0.0)
    progress.update(50 * MEGA, 1.0)
    for second in range(2, 9):
        progress.update(50 * MEGA, float(second))
    assert progress.line(80).endswith("50.0 MB of 100.0 MB  0 B/s")


@pytest.mark.parametrize("columns", [*range(60), 80, 200])
@pytest.mark.parametrize("total", [None, 10**18])
def test_any_width(columns: int, total: int | None) -> None:
    """The line never reaches the last column, where a terminal would wrap it."""
    progress = Progress(total, 0.0)
    progress.update(10**17, 1e5)
    assert len(progress.line(columns)) <= max(0, columns - 1)
    assert len(progress.line(columns, is_over=True)) <= max(0, columns - 1)


def test_file_that_grows() -> None:
    """A file that has become longer than it was is at 100 %, and no more."""
    progress = Progress(1000, 0.0)
    progress.update(5000, 1.0)
    assert progress.line(80).startswith("100%  [######################]  5.0 kB of 1.0 kB")
    assert progress.line(80).endswith("0:00 left")


def test_long_time() -> None:
    """From an hour on the time has hours."""
    progress = Progress(10_000_000, 0.0)
    progress.update(1000, 1.0)
    assert progress.line(80).endswith("2:46:39 left")


def test_size_of(tmp_path: Path) -> None:
    """The size is that of what is left of a file; of a pipe, and of what the kernel makes up, it is unknown."""
    (tmp_path / "file").write_bytes(b"x" * 100)
    reading, writing = os.pipe()
    with open(tmp_path / "file", "rb") as file, open("/proc/self/stat", "rb") as made_up:
        os.read(file.fileno(), 30)
        assert [size_of(number) for number in (file.fileno(), reading, made_up.fileno())] == [70, None, None]
    os.close(reading)
    os.close(writing)
