"""The promises of turns.py."""

import pytest

from upperd.server import turns
from upperd.server.layout import CONNECTIONS, CROWD, TURNS, WORDS_A_SLOT
from upperd.server.observer import End
from upperd.server.scoreboard import Scoreboard
from upperd.server.turns import FEWEST, MOST, Turns


class Clock:
    """The time, as the test says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """In place of the clock that turns.py looks at."""
    clock = Clock()
    monkeypatch.setattr(turns, "monotonic", clock)
    return clock


def _end(connections: int) -> End:
    words = [0] * WORDS_A_SLOT
    words[CONNECTIONS] = connections
    return End(1, 0, None, tuple(words))


def _last(of: Turns) -> int:
    """How many children end before it is over."""
    of.begin()
    for count in range(1, MOST + 2):
        of.child_ended(_end(1))
        if not of.left:
            return count
    raise AssertionError("it does not end")


def test_children_are_told(clock: Clock) -> None:
    """From a passed connection on, the header tells the children to end after one, until FEWEST have done so."""
    board = Scoreboard(slots=4)
    board["guarded"] = CROWD
    of = Turns(board)
    assert _last(of) == FEWEST
    assert board["guarded"] == CROWD
    of.begin()
    assert board["guarded"] == CROWD | TURNS


def test_served_nobody(clock: Clock) -> None:
    """A child that has served nobody does not count."""
    of = Turns(Scoreboard(slots=4))
    of.begin()
    of.child_ended(_end(0))
    assert of.left == FEWEST


def test_soon_again(clock: Clock) -> None:
    """Where users go on taking turns, it lasts twice as long each time, up to MOST."""
    of = Turns(Scoreboard(slots=4))
    lasted = []
    for _ in range(7):
        of.begin()
        clock.now += 1.0
        lasted.append(_last(of))
        clock.now += 0.5
    assert lasted == [64, 128, 256, 512, 1024, MOST, MOST]


def test_now_and_then(clock: Clock) -> None:
    """One who comes now and then costs the others FEWEST each time."""
    of = Turns(Scoreboard(slots=4))
    for _ in range(3):
        of.begin()
        clock.now += 1.0
        assert _last(of) == FEWEST
        clock.now += 1.5
