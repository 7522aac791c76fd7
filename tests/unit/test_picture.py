"""The picture of top: it fits, whatever the size, and shows no control character."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from upperd.ctl import view
from upperd.ctl.picture import picture
from upperd.ctl.rows import TOP, History, Order, fitting
from upperd.ctl.usage import Usage
from upperd.server import layout
from upperd.server.scoreboard import Scoreboard
from upperd.server.snapshot import read


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Scoreboard:
    """Thirty children with figures of all sizes."""
    board = Scoreboard(str(tmp_path_factory.mktemp("picture") / "scoreboard"))
    for number in range(30):
        slot, place, row = board.claim()
        board.born(slot, 4_000_000 + number)
        place[layout.HANDED] = number % 3 == 0
        place[layout.PEER_UID] = layout.UNKNOWN if number % 2 else 2**32 - 2 - number
        place[layout.PEER_PID] = 2**22 - number
        for field in (layout.CONNECTIONS, layout.MESSAGES, layout.BYTES_IN, layout.BYTES_OUT):
            row[field] = 10 ** (number % 20)
        row[layout.ACTIVE] = 1
    board.describe("1\x1b", ["unix:/" + "long/" * 30 + "\x07", "tcp:[::1]:9999"], [])
    return board


def lines(board: Scoreboard, width: int, height: int | None, order: Order, state: int = view.RUNNING) -> list[str]:
    """The picture, as text."""
    daemon = view.DaemonView("/nonexistent/\x1b[2J/scoreboard")
    daemon.state = state
    if state != view.UNKNOWN:
        daemon.snapshot = read(str(board.path))
    history = History()
    daemon.usages = {4_000_000: Usage(10**15, None, 10**12, 0, 0, 0), 4_000_001: Usage(1, 1, 1, 1, 0, 0)}
    for moment in range(3):
        history.add(daemon, float(moment))
    console = Console(width=width, height=50, color_system=None, highlight=False, markup=False, emoji=False)
    with console.capture() as capture:
        console.print(picture(width, daemon, history, order, height))
    return capture.get().rstrip("\n").split("\n")


@settings(deadline=None)
@given(
    width=st.integers(1, 250),
    height=st.none() | st.integers(1, 100),
    field=st.sampled_from([*TOP]),
    first=st.integers(0, 100),
    state=st.sampled_from([view.RUNNING, view.NOT_RUNNING, view.UNKNOWN]),
)
def test_it_fits(board: Scoreboard, width: int, height: int | None, field: str, first: int, state: int) -> None:
    """In every size no line is wider than the terminal, nothing is raw, and if there is room the screen is filled."""
    shown = lines(board, width, height, Order(field, False, first), state)
    assert [line for line in shown if len(line) > width or not line.isprintable()] == []
    if height is not None and height >= 12 and width >= 40:
        assert len(shown) == height


def test_every_child_is_shown_once(board: Scoreboard) -> None:
    """Scrolling from the first to the last line shows every child, and the last page is a full one."""
    seen = set()
    for first in range(0, 40, 5):
        rows = lines(board, 100, 16, Order("pid", False, first))
        shown = [int(row.split()[0]) for row in rows if row.startswith("40000")]
        assert len(shown) == 6
        seen |= set(shown)
    assert seen == {4_000_000 + number for number in range(30)}


@pytest.mark.parametrize("width", range(1, 120))
def test_columns_give_way(width: int) -> None:
    """The narrower the terminal, the fewer the columns; the pid stays, and the remaining ones fit."""
    chosen = fitting(width)
    assert next(iter(chosen)) == "pid"
    assert len(chosen) == 1 or sum(column.width + 1 for column in chosen.values()) - 1 <= width
    assert set(chosen) <= set(fitting(width + 1))


@pytest.mark.parametrize("field", TOP)
def test_order(board: Scoreboard, field: str) -> None:
    """Every field sorts, in both directions; numbers begin with the greatest, names with the first."""
    daemon = view.DaemonView(str(board.path))
    daemon.state = view.RUNNING
    history = History()
    history.add(daemon, 0.0)
    column = TOP[field]
    keys = [column.key(row) for row in Order(field).apply(history.rows)]
    reverse = [column.key(row) for row in Order(field, True).apply(history.rows)]
    if field != "idle":  # idle times grow meanwhile
        assert keys == sorted(keys, reverse=column.descends)
        assert reverse == keys[::-1]


def test_no_figures(tmp_path: Path) -> None:
    """Without a scoreboard the picture says why, and what to do."""
    daemon = view.DaemonView(str(tmp_path / "scoreboard"))
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(picture(200, daemon, History(), Order(), 24))
    assert "not running" in capture.get()
    assert "start the daemon (" in capture.get()
