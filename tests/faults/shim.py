"""Faults on demand: a preloaded library (shim.c) whose C library calls fail while a file says so."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Shim:
    """The faults of one daemon."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._folder = folder
        self.environ = {"LD_PRELOAD": str(library), "SHIM_FOLDER": str(folder)}

    @contextmanager
    def failing(self, call: str, error: str) -> Iterator[None]:
        """Make `call` (fork, accept4, socketpair, sendmsg) fail with the error of this name."""
        path = self._folder / call
        path.write_text(str(getattr(errno, error)))
        try:
            yield
        finally:
            path.unlink()

    def set_clock(self, seconds: int) -> None:
        """Shift the wall clock, CLOCK_REALTIME, by this many seconds from now on."""
        (self._folder / "clock").write_text(str(seconds))

    def hits(self, call: str) -> int:
        """How often `call` was made to fail; for "clock", how often the shifted wall clock was read."""
        try:
            return (self._folder / f"{call}.hits").stat().st_size
        except FileNotFoundError:
            return 0
