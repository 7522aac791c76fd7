"""The columns of `upperctl top`: what a child's row has, what it is sorted by, and what a narrow terminal lacks."""

from __future__ import annotations

import pwd
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from upperd.base.text import duration, printable, size
from upperd.ctl import view
from upperd.ctl.history import Row
from upperd.server import layout
from upperd.server.slot import now_usec


class Column(NamedTuple):
    """A column of the table, and the field that `--sort` knows."""

    name: str
    title: str
    width: int
    rank: int
    """Those of the highest ranks are left out where the terminal is narrow."""
    key: Callable[[Row], float | str]
    text: Callable[[Row], str]
    descends: bool = True
    """Whether the greatest come first."""


@lru_cache(maxsize=1024)
def _user_name(uid: int) -> str:
    if uid == layout.UNKNOWN:
        return "-"
    try:
        return printable(pwd.getpwuid(uid).pw_name)
    except (KeyError, OverflowError):
        return str(uid)


def _word(field: str) -> Callable[[Row], int]:
    """A field of the child's slot."""
    return lambda row: row.child[field]


def _size(field: str) -> Callable[[Row], str]:
    return lambda row: size(row.child[field])


def _count(field: str) -> Callable[[Row], str]:
    return lambda row: view.known(row.child[field])


def _state(row: Row) -> str:
    return "spare" if row.child["waiting"] else "busy"


def _user(row: Row) -> str:
    """The name of the last peer's user, or the number where there is none."""
    return _user_name(row.child["peer_uid"])


def _cpu(row: Row) -> str:
    return "-" if row.cpu_percent is None else f"{row.cpu_percent:.1f}"


def _memory(row: Row) -> str:
    return "-" if row.usage is None else size(row.usage.memory_bytes)


def _idle_seconds(row: Row) -> float:
    active = row.child["active_usec"]
    return max(0, now_usec() - active) / 1e6 if active else 0.0


def _idle(row: Row) -> str:
    return duration(_idle_seconds(row)).partition(" ")[0] if row.child["active_usec"] else "-"


COLUMNS = (
    Column("pid", "PID", 7, 0, _word("pid"), _count("pid"), False),
    Column("state", "STATE", 5, 1, _word("waiting"), _state, False),
    Column("user", "USER", 8, 2, _user, _user, False),
    Column("peer", "PEER", 7, 9, _word("peer_pid"), _count("peer_pid"), False),
    Column("conns", "CONNS", 6, 7, _word("connections"), _count("connections")),
    Column("msgs", "MSGS", 7, 8, _word("messages"), _count("messages")),
    Column("in", "IN", 8, 6, _word("bytes_in"), _size("bytes_in")),
    Column("out", "OUT", 8, 10, _word("bytes_out"), _size("bytes_out")),
    Column("rate", "RATE/s", 8, 3, lambda row: row.byte_rate, lambda row: size(int(row.byte_rate))),
    Column("cpu", "CPU%", 5, 4, lambda row: row.cpu_percent or 0.0, _cpu),
    Column("mem", "PSS", 8, 5, lambda row: -1 if row.usage is None else row.usage.memory_bytes, _memory),
    Column("idle", "IDLE", 6, 11, _idle_seconds, _idle),
)
SORTABLE = tuple(column.name for column in COLUMNS)


def fitting(width: int) -> list[Column]:
    """As many of the columns as there is room for, by their ranks."""
    chosen = sorted(COLUMNS, key=lambda column: column.rank)
    while len(chosen) > 1 and sum(column.width + 1 for column in chosen) - 1 > width:
        chosen.pop()
    return [column for column in COLUMNS if column in chosen]


class Order(NamedTuple):
    """How the rows are sorted, and which is the first to be shown."""

    field: str = "rate"
    is_reversed: bool = False
    first: int = 0

    def apply(self, rows: list[Row]) -> list[Row]:
        """The rows in this order; among equals the busy first, then by pid."""
        column = COLUMNS[SORTABLE.index(self.field)]
        rows = sorted(rows, key=lambda row: (row.child["waiting"], row.child["pid"]))
        return sorted(rows, key=column.key, reverse=column.descends != self.is_reversed)
