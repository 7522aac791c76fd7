"""The handler of one connection, on a socket that fails."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from upperd.server.layout import OUTCOME, OUTCOMES, WAITING
from upperd.server.scoreboard import Scoreboard
from upperd.upper.handler import UpperHandler


class _Failing:
    """A connection whose recv() fails."""

    def __init__(self, number: int) -> None:
        self._number = number

    def recv(self, size: int) -> bytes:
        raise OSError(self._number, "as told")


class _Server:
    def __init__(self, slot: Any) -> None:
        self.slot = slot


def _outcome(number: int) -> str:
    _, slot = Scoreboard(slots=1).claim(0, WAITING)
    UpperHandler(_Failing(number), "", _Server(slot))  # type: ignore[arg-type]
    return OUTCOMES[slot.words[OUTCOME]]


@pytest.mark.parametrize("name", ["ECONNRESET", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH"])
def test_peer_that_is_gone(name: str) -> None:
    """A peer that is gone, or that the network has lost, is no error of the child."""
    assert _outcome(getattr(errno, name)) == "reset"


def test_error_of_our_own() -> None:
    """An error that is not the peer's is one of the child."""
    with pytest.raises(OSError, match="as told"):
        _outcome(errno.EBADF)
