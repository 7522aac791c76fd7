"""What a user owes, without processes and without waiting."""

from __future__ import annotations

import pytest

from upperd.server.layout import CONNECTIONS, PEER_UID, WAITING
from upperd.server.observer import End
from upperd.server.scoreboard import Scoreboard
from upperd.service.guard import Guard
from upperd.service.rates import Rates

ALICE = 61001


def _served_since(rate: float, seconds: int) -> int:
    """How often a user who comes once a second was let in."""
    board = Scoreboard(slots=2)
    guard = Guard(board)
    rates = Rates(board, guard, [], lambda: True)
    rates.limit(rate)
    served = 0
    index, _ = board.claim(0, WAITING)
    words = list(board.words(index))
    for now in range(seconds):
        guard.let_in(now * 1_000_000)
        if not board["penalised"]:
            served += 1
            words[CONNECTIONS], words[PEER_UID] = 1, ALICE
            rates.child_ended(End(now, 0, None, tuple(words)), float(now))
    return served


@pytest.mark.parametrize("rate", [0.5, 0.1, 0.01, 0.001])
def test_low_rates_are_kept(rate: float) -> None:
    """Over hours a user is let in as often as the rate says, however low it is, and no more often."""
    seconds = 20_000
    assert _served_since(rate, seconds) == pytest.approx(rate * seconds, abs=2, rel=0.1)
