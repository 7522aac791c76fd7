"""Rates between two looks: they count what happened, and nothing else."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from upperd.ctl import view
from upperd.ctl.rows import BARS, History, sparkline
from upperd.ctl.usage import Usage
from upperd.server.layout import BYTES_IN, BYTES_OUT, CONNECTIONS
from upperd.server.scoreboard import Scoreboard


def view_of(board: Scoreboard, state: int = view.RUNNING, cpu: int | None = None) -> view.DaemonView:
    """`cpu`: microseconds of the one child."""
    daemon = view.DaemonView(str(board.path))
    daemon.state = state
    daemon.usages = {} if cpu is None else {71: Usage(1, 1, cpu, 0, 0, 0)}
    return daemon


def test_rates(tmp_path: Path) -> None:
    """A rate is the difference of two looks divided by the time between them, for the total and for each child."""
    board = Scoreboard(str(tmp_path / "scoreboard"))
    slot, _, row = board.claim()
    board.born(slot, 71)
    board["connections"] = 100
    history = History()
    history.add(view_of(board, cpu=5_000_000), 10.0)
    assert (history.rates["connections"], history.rows[0].byte_rate, history.rows[0].cpu_percent) == (0, 0, 0)
    row[CONNECTIONS], row[BYTES_IN], row[BYTES_OUT] = 6, 300, 100
    history.add(view_of(board, cpu=6_000_000), 12.0)
    assert (history.rates["connections"], history.rates["bytes_in"]) == (3, 150)
    assert (history.rows[0].byte_rate, history.rows[0].cpu_percent) == (200, 50)
    assert list(history.past["connections"]) == [0, 3]


def test_a_new_daemon_is_compared_with_none(tmp_path: Path) -> None:
    """A new daemon in place of another has no rates at first, nor has a stopped one, nor one that is back."""
    board = Scoreboard(str(tmp_path / "scoreboard"))
    board["connections"] = 100
    history = History()
    history.add(view_of(board), 1.0)
    board["connections"], board["pid"] = 500, 99
    history.add(view_of(board), 2.0)
    assert history.rates["connections"] == 0
    board["connections"] = 600
    history.add(view_of(board, view.NOT_RUNNING), 3.0)
    assert (history.rates["connections"], history.rows) == (0, [])
    history.add(view_of(board), 4.0)
    assert history.rates["connections"] == 0


def test_a_slot_has_another_child(tmp_path: Path) -> None:
    """A child is compared with itself, and not with the one that had its slot or its pid before."""
    board = Scoreboard(str(tmp_path / "scoreboard"), slots=1)
    history = History()
    for number, moved in enumerate((1000, 10)):
        slot, _, row = board.claim()
        board.born(slot, 71)
        row[BYTES_IN] = moved
        history.add(view_of(board, cpu=100), float(number))
        board.release(slot)
        board.add("ended")
    assert (history.rows[0].byte_rate, history.rows[0].cpu_percent) == (10, 0.01)


def test_a_counter_that_goes_back(tmp_path: Path) -> None:
    """A counter that a broken child has set back adds nothing to the rates."""
    board = Scoreboard(str(tmp_path / "scoreboard"))
    history = History()
    for moment, connections in ((1.0, 100), (2.0, 50)):
        board["connections"] = connections
        history.add(view_of(board), moment)
    assert history.rates["connections"] == 0


def test_sparkline() -> None:
    """Nothing is the lowest bar, the maximum is the highest, other values lie between, the newest is at the right."""
    assert sparkline([0, 1e-9, 50, 100], 6) == "  " + BARS[0] + BARS[1] + BARS[4] + BARS[-1]
    assert sparkline([7, 0, 0], 2) == BARS[0] * 2
    assert sparkline([], 3) == "   "


@given(st.lists(st.floats(0, 1e18)), st.integers(0, 100))
def test_sparkline_is_as_wide_as_asked(values: list[float], width: int) -> None:
    """The line has its full width, whatever the rates were."""
    assert len(sparkline(values, width)) == width
