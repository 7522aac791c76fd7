"""What a reload writes for children that take connections meanwhile."""

from __future__ import annotations

from upperd.server.layout import DOOR, HEADER, LIMITS
from upperd.server.scoreboard import Scoreboard
from upperd.service.policy import Policy
from upperd.service.settings import Settings


class _Watched(Scoreboard):
    """Notes every value of `guarded`."""

    seen: list[int]

    def __setitem__(self, field: str, value: int) -> None:
        super().__setitem__(field, value)
        if hasattr(self, "seen"):
            self.seen.append(self.header[HEADER["guarded"]])


def test_door_is_never_open_for_a_moment() -> None:
    """While a reload changes settings, rules and limits that hold before and after it hold at every moment of it."""
    board = _Watched(slots=1)
    policy = Policy(board)
    settings = Settings()
    settings.deny_user, settings.idle_timeout = "1000", 5.0
    policy.follow(settings)
    board.seen = []
    for users in ("1000", "1000,1001"):
        settings.deny_user = users
        policy.follow(settings)
    assert set(board.seen) == {DOOR | LIMITS}


def test_shortest_time() -> None:
    """A limit that is shorter than the clock can tell is a limit, not none."""
    board = Scoreboard(slots=1)
    settings = Settings()
    settings.idle_timeout = settings.max_lifetime = 1e-9
    Policy(board).follow(settings)
    assert (board["idle_timeout_usec"], board["max_lifetime_usec"]) == (1, 1)
