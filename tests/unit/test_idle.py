"""The promises of idleness: it leaves after its time, and whatever is done begins the time anew."""

import pytest

from upperd.server import layout, scoreboard
from upperd.service.idle import Idle

START = 1000.0
SECONDS = 10.0


class Stage:
    """An `Idle` with a scoreboard, and a count of how often it left."""

    def __init__(self) -> None:
        self.board = scoreboard.Scoreboard(slots=4)
        self.left = 0
        self.idle = Idle(self.board, SECONDS, self._leave, START)
        assert self.idle.turn(START) == START + SECONDS

    def _leave(self) -> None:
        self.left += 1


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_leaves_after_its_time(stage: Stage) -> None:
    """It leaves when nothing was done for its time, not before, and again after that time."""
    assert stage.idle.turn(START + SECONDS - 0.1) == START + SECONDS
    assert stage.left == 0
    assert stage.idle.turn(START + SECONDS) == START + 2 * SECONDS
    stage.idle.turn(START + 2 * SECONDS)
    assert stage.left == 2


def test_busy_child_keeps_it(stage: Stage) -> None:
    """While a child serves a connection it does not leave; the time counts from then."""
    stage.board.claim(0, layout.BUSY)
    assert stage.idle.turn(START + 3 * SECONDS) == START + 4 * SECONDS
    assert stage.left == 0


def test_end_of_a_child_keeps_it(stage: Stage) -> None:
    """A child that has ended, whatever it did, begins the time anew."""
    stage.board.add("ended")
    assert stage.idle.turn(START + SECONDS) == START + 2 * SECONDS
    assert stage.left == 0


def test_reused_child_keeps_it(stage: Stage) -> None:
    """What a child that waits again has done meanwhile counts, though nobody was woken for it."""
    index, slot = stage.board.claim(0, layout.WAITING)
    slot.words[layout.ACTIVE] = int((START + 7) * 1e6)
    assert stage.idle.turn(START + SECONDS) == START + 7 + SECONDS
    assert stage.left == 0
    stage.board.release(index)
