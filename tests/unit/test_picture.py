"""The promises of the picture of top: it fits, whatever the size, and shows no control character."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from upperd.ctl import view
from upperd.ctl.columns import COLUMNS, SORTABLE, Order, fitting
from upperd.ctl.history import History
from upperd.ctl.picture import picture
from upperd.ctl.usage import Usage
from upperd.server import layout
from upperd.server.layout import BUSY, WAITING
from upperd.server.scoreboard import Scoreboard
from upperd.server.snapshot import Snapshot


@pytest.fixture(scope="module")
def board() -> Scoreboard:
    """Thirty children with figures of all sizes, in memory."""
    board = Scoreboard()
    for number in range(30):
        index, slot = board.claim(0, WAITING if number % 3 else BUSY)
        board.born(index, 4_000_000 + number)
        slot.words[layout.PEER_UID] = layout.UNKNOWN if number % 2 else 2**32 - 2 - number
        slot.words[layout.PEER_PID] = 2**22 - number
        for field in (layout.CONNECTIONS, layout.MESSAGES, layout.BYTES_IN, layout.BYTES_OUT):
            slot.words[field] = 10 ** (number % 20)
        slot.words[layout.ACTIVE] = 1
    board.describe("1\x1b", ["unix:/" + "long/" * 30 + "\x07", "tcp:[::1]:9999"])
    return board


def lines(board: Scoreboard, width: int, height: int | None, order: Order, state: int = view.RUNNING) -> list[str]:
    """The picture, as text."""
    sight = view.Sight("/nonexistent/\x1b[2J/scoreboard")
    sight.state = state
    if state != view.UNKNOWN:
        sight.snapshot = Snapshot(bytes(board._map))
    history = History()
    usages = {4_000_000: Usage(10**15, None, 10**12, 0, 0, 0), 4_000_001: Usage(1, 1, 1, 1, 0, 0)}
    for moment in range(3):
        history.add(sight, usages, float(moment))
    console = Console(width=width, height=50, color_system=None, highlight=False, markup=False, emoji=False)
    with console.capture() as capture:
        console.print(picture(console, sight, history, order, height=height))
    return capture.get().rstrip("\n").split("\n")


@given(
    width=st.integers(1, 250),
    height=st.none() | st.integers(1, 100),
    field=st.sampled_from(SORTABLE),
    first=st.integers(0, 100),
    state=st.sampled_from([view.RUNNING, view.NOT_RUNNING, view.UNKNOWN]),
)
def test_it_fits(board: Scoreboard, width: int, height: int | None, field: str, first: int, state: int) -> None:
    """In every size no line is wider than the terminal, nothing is raw, and where there is room it is filled."""
    shown = lines(board, width, height, Order(field, False, first), state)
    assert [line for line in shown if len(line) > width or not line.isprintable()] == []
    if height is not None and height >= 12 and width >= 40:
        assert len(shown) == height


def test_every_child_is_shown_once(board: Scoreboard) -> None:
    """Scrolled from the first to the last line, every child has been there, and the last page is a full one."""
    seen = set()
    for first in range(0, 40, 5):
        rows = lines(board, 100, 15, Order("pid", False, first))
        shown = [int(row.split()[0]) for row in rows if row.startswith("40000")]
        assert len(shown) == 6
        seen |= set(shown)
    assert seen == {4_000_000 + number for number in range(30)}


@pytest.mark.parametrize("width", range(1, 120))
def test_columns_give_way(width: int) -> None:
    """The narrower the terminal, the fewer the columns; the pid stays, and those that stay fit."""
    chosen = fitting(width)
    assert chosen[0].name == "pid"
    assert len(chosen) == 1 or sum(column.width + 1 for column in chosen) - 1 <= width
    assert {column.name for column in chosen} <= {column.name for column in fitting(width + 1)}
    assert sorted(column.rank for column in COLUMNS) == list(range(len(COLUMNS)))


@pytest.mark.parametrize("field", SORTABLE)
def test_order(board: Scoreboard, field: str) -> None:
    """Every field sorts, one way and the other; numbers begin with the greatest, names with the first."""
    sight = view.Sight("/nonexistent")
    sight.snapshot, sight.state = Snapshot(bytes(board._map)), view.RUNNING
    history = History()
    history.add(sight, {}, 0.0)
    column = COLUMNS[SORTABLE.index(field)]
    keys = [column.key(row) for row in Order(field).apply(history.rows)]
    reverse = [column.key(row) for row in Order(field, True).apply(history.rows)]
    if field != "idle":  # which goes on meanwhile
        assert keys == sorted(keys, reverse=column.descends)  # type: ignore[type-var]
        assert reverse == keys[::-1]


def test_no_figures(tmp_path: Path) -> None:
    """Without a scoreboard the picture says why, and what to do."""
    sight = view.Sight(str(tmp_path / "scoreboard"))
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(picture(console, sight, History(), Order(), height=24))
    assert "not running" in capture.get()
    assert "systemctl start upperd" in capture.get()
