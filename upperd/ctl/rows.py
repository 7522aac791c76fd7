"""The children as `upperctl stats` and `top` show them: rows, columns and their order; rates and their history.

It knows no terminal and reads no clock for the rates: the caller says when it looked.
"""

from __future__ import annotations

import pwd
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

from upperd.base.text import duration, printable, size
from upperd.ctl.usage import Usage
from upperd.ctl.view import DaemonView
from upperd.server import layout

LENGTH = 240
"""How many looks are kept: as many as a wide terminal has columns."""
BARS = "▁▂▃▄▅▆▇█"
RATED = ("connections", "bytes_in", "bytes_out")
"""The totals whose rates are shown."""


class Row(NamedTuple):
    """A child and its rates."""

    child: dict[str, int]
    usage: Usage | None
    byte_rate: float = 0.0
    """Bytes a second, in and out."""
    cpu_percent: float | None = None
    """Of one processor; None: unknown."""


class Column(NamedTuple):
    """How to find a child's figure (None: unknown), and how to write it."""

    title: str
    value: Callable[[Row], Any]
    form: Callable[[Any], str] = str
    width: int = 0
    """In `top`."""
    descends: bool = True
    """Whether rows sorted by this column begin with the largest."""

    def key(self, row: Row) -> Any:
        """The key to sort the row by; unknown is less than any figure."""
        value = self.value(row)
        return -1 if value is None else value

    def text(self, row: Row) -> str:
        """The figure; a dash where it is unknown."""
        value = self.value(row)
        return "-" if value is None else self.form(value)


def _field(name: str) -> Callable[[Row], int | None]:
    """A field of the child."""
    return lambda row: None if row.child[name] == layout.UNKNOWN else row.child[name]


@lru_cache(maxsize=1024)
def _user_name(uid: int) -> str:
    try:
        return printable(pwd.getpwuid(uid).pw_name)
    except (KeyError, OverflowError):
        return "-" if uid == layout.UNKNOWN else str(uid)


def _idle(row: Row) -> float | None:
    active = row.child["active_usec"]
    return max(0, layout.now_usec() - active) / 1e6 if active else None


TOP = {
    "pid": Column("PID", _field("pid"), str, 7, False),
    "state": Column("STATE", _field("waiting"), lambda waiting: "spare" if waiting else "busy", 5, False),
    "user": Column("USER", lambda row: _user_name(row.child["peer_uid"]), str, 8, False),
    "rate": Column("RATE/s", lambda row: int(row.byte_rate), size, 8),
    "cpu": Column("CPU%", lambda row: row.cpu_percent, "{:.1f}".format, 5),
    "mem": Column("PSS", lambda row: row.usage and row.usage.memory_bytes, size, 8),
    "conns": Column("CONNS", _field("connections"), str, 6),
    "msgs": Column("MSGS", _field("messages"), str, 7),
    "in": Column("IN", _field("bytes_in"), size, 8),
    "out": Column("OUT", _field("bytes_out"), size, 8),
    "peer": Column("PEER", _field("peer_pid"), str, 7, False),
    "idle": Column("IDLE", _idle, lambda seconds: duration(seconds).partition(" ")[0], 6),
}
"""The columns of `top` by their names in `--sort`. A narrow terminal shows only the first ones."""
STATS = (
    *(TOP["pid"], TOP["state"], Column("LISTENER", _field("listener")), Column("UID", _field("peer_uid"))),
    *(TOP["peer"], TOP["conns"], TOP["msgs"], TOP["in"], TOP["out"], TOP["mem"]),
    Column("CPU", lambda row: row.usage and row.usage.cpu_usec / 1e6, "{:.2f}s".format),
    Column("IDLE", _idle, "{:.1f}s".format),
    Column("ENDED", lambda row: layout.OUTCOMES[row.child["outcome"]] or None),
)


def fitting(width: int) -> dict[str, Column]:
    """As many of the columns of `top` as fit."""
    chosen = dict(TOP)
    while len(chosen) > 1 and sum(column.width + 1 for column in chosen.values()) - 1 > width:
        chosen.popitem()
    return chosen


class Order(NamedTuple):
    """How the rows are sorted, and the first one shown."""

    field: str = "rate"
    is_reversed: bool = False
    first: int = 0

    def apply(self, rows: list[Row]) -> list[Row]:
        """The rows in this order; equal ones with the busy first, then by pid."""
        column = TOP[self.field]
        rows = sorted(rows, key=lambda row: (row.child["waiting"], row.child["pid"]))
        return sorted(rows, key=column.key, reverse=column.descends != self.is_reversed)


class History:
    """The looks at one daemon, and at the one that replaces it."""

    def __init__(self) -> None:
        self._before: DaemonView | None = None
        self._moment = 0.0
        self.rates = dict.fromkeys(RATED, 0.0)
        """What happened per second between the last two looks."""
        self.past: dict[str, deque[float]] = {name: deque(maxlen=LENGTH) for name in RATED}
        self.rows: list[Row] = []
        """The children that live."""

    def add(self, view: DaemonView, moment: float) -> None:
        """Add a look, taken at `moment` (seconds of a monotonic clock)."""
        before, seconds = self._before, moment - self._moment
        if before is None or _identity(before) != _identity(view):
            before, seconds = view, 1.0  # the new daemon counts from 0
        for name in RATED:
            self.rates[name] = _rate(view.header.get(name, 0), before.header.get(name, 0), seconds)
            self.past[name].append(self.rates[name])
        children = {child["generation"]: child for child in before.children}
        self.rows = []
        for child in view.children:
            earlier, pid = children.get(child["generation"]), child["pid"]
            # Everything that a new child has done happened since the last look.
            moved, cpu = _rate(_moved(child), _moved(earlier) if earlier else 0, seconds), None
            if usage := view.usages.get(pid):
                usage_before = before.usages.get(pid) if earlier else None
                cpu = _rate(usage.cpu_usec, usage_before.cpu_usec if usage_before else 0, seconds) / 1e4
            self.rows.append(Row(child, usage, moved, cpu))
        self._before, self._moment = view, moment


def _identity(view: DaemonView) -> tuple[object, ...]:
    """Equal for two looks at the same daemon in the same state."""
    return view.state, view.header.get("pid"), view.header.get("started_usec")


def _moved(child: dict[str, int]) -> int:
    return child["bytes_in"] + child["bytes_out"]


def _rate(count: int, count_before: int, seconds: float) -> float:
    """Per second. A counter that a broken child has set back counts as 0."""
    return max(0, count - count_before) / seconds if seconds > 0 else 0.0


def sparkline(values: list[float], width: int) -> str:
    """The last values as bars, the newest at the right; the highest value is a full bar."""
    values = values[-width:] if width > 0 else []
    most = max(values, default=0.0)
    # Any value above 0 has a bar.
    heights = [min(7, 1 + int(value / most * 7)) if value > 0 else 0 for value in values]
    return "".join(BARS[height] for height in heights).rjust(width)
