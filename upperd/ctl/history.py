"""From one look at a daemon to the next: rates in all and of each child, and how the rates went.

No terminal, no clock: the caller says when it looked.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from upperd.ctl import view
from upperd.server import layout

if TYPE_CHECKING:
    from upperd.ctl.usage import Usage

LENGTH = 240
"""Looks that are remembered: as many as a wide terminal has columns."""
BARS = "▁▂▃▄▅▆▇█"
ASCII_BARS = "_.-:=+*#"


class Row(NamedTuple):
    """A child, and what it does in a second."""

    child: dict[str, int]
    usage: Usage | None
    byte_rate: float
    """Bytes a second, in and out."""
    cpu_percent: float | None
    """Of one processor; None: unknown."""


class _Before(NamedTuple):
    moment: float
    daemon: tuple[int, int]
    """Its pid and when it started, which name one daemon: a new one counts from 0."""
    totals: dict[str, int]
    moved: dict[int, int]
    spent: dict[int, int]
    """Bytes, and processor time, of each child by its number since the start."""


class History:
    """What was seen of one daemon, and of the one that takes its place."""

    def __init__(self) -> None:
        self._before: _Before | None = None
        self.rates: dict[str, float] = dict.fromkeys(layout.TOTALS, 0.0)
        """What happened in a second, between the last two looks."""
        self.past: dict[str, deque[float]] = {name: deque(maxlen=LENGTH) for name in ("connections", "bytes_in")}
        self.rows: list[Row] = []
        """The children that live."""

    def add(self, sight: view.Sight, usages: dict[int, Usage], moment: float) -> None:
        """Take in another look, at `moment` in seconds of one clock."""
        if sight.snapshot is None or sight.state == view.NOT_RUNNING:
            self._before, self.rows = None, []
            self.rates = dict.fromkeys(layout.TOTALS, 0.0)
        else:
            header = sight.snapshot.header
            children = [child for child in sight.snapshot.children if child["pid"]]  # one that is being forked has none
            daemon = header["pid"], header["started_usec"]
            before = self._before if self._before is not None and self._before.daemon == daemon else None
            now = _Before(
                moment,
                daemon,
                {name: header[name] for name in layout.TOTALS},
                {child["generation"]: child["bytes_in"] + child["bytes_out"] for child in children},
                {child["generation"]: usages[child["pid"]].cpu_usec for child in children if child["pid"] in usages},
            )
            self._compare(now, before)
            self.rows = [_row(child, usages.get(child["pid"]), now, before) for child in children]
            self._before = now
        for name, past in self.past.items():
            past.append(self.rates[name])

    def _compare(self, now: _Before, before: _Before | None) -> None:
        for name, total in now.totals.items():
            self.rates[name] = 0.0 if before is None else _rate(total, before.totals[name], now, before)


def _row(child: dict[str, int], usage: Usage | None, now: _Before, before: _Before | None) -> Row:
    number = child["generation"]
    if before is None:
        return Row(child, usage, 0.0, None if usage is None else 0.0)
    byte_rate = _rate(now.moved[number], before.moved.get(number, 0), now, before)
    cpu = None if usage is None else _rate(usage.cpu_usec, before.spent.get(number, 0), now, before) / 1e4
    return Row(child, usage, byte_rate, cpu)


def _rate(count: int, count_before: int, now: _Before, before: _Before) -> float:
    """In a second. A counter that a broken child has set back counts nothing."""
    elapsed = now.moment - before.moment
    return max(0, count - count_before) / elapsed if elapsed > 0 else 0.0


def sparkline(values: list[float], width: int, bars: str = BARS) -> str:
    """The last values as a line of bars, the newest at the right; the highest of them is a full bar."""
    values = values[-width:] if width > 0 else []
    most = max(values, default=0.0)
    # A value that is there is to be told from none.
    heights = [min(len(bars) - 1, 1 + int(value / most * (len(bars) - 1))) if value > 0 else 0 for value in values]
    return "".join(bars[height] for height in heights).rjust(width)
