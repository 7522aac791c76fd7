"""Where rich draws: live on the terminal, or into a text.

It knows nothing of daemons.
"""

from __future__ import annotations

import signal
import sys

from rich.console import Console, RenderableType
from rich.live import Live

_WIDE = 10_000
"""Columns: no line is cut or wrapped."""


def drawn(*parts: RenderableType, width: int = _WIDE) -> str:
    """The parts below each other, in colours if standard output shows them, without the last newline."""
    console = _console(width)
    with console.capture() as capture:
        console.print(*parts, sep="\n")
    return capture.get().removesuffix("\n")


def make_live() -> Live:
    """A screen of its own, drawn on `update`, which also a signal that ends us restores."""
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    return Live(console=_console(), screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)


def _console(width: int | None = None) -> Console:
    return Console(width=width, highlight=False, markup=False, emoji=False)
