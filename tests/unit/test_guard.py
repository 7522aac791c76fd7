"""The promises of the guard: what its rules say, how they change, who is kept out and for how long."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from upperd.server.layout import DOOR, REFUSED_ACCESS, REFUSED_RATE, UNKNOWN
from upperd.server.scoreboard import Scoreboard, now_usec
from upperd.service import guard
from upperd.service.guard import Guard

UIDS = st.integers(0, 5)
LISTS = st.lists(UIDS, max_size=4, unique=True)


class Peer:
    """A connection whose peer has these supplementary groups."""

    def __init__(self, groups: list[int]) -> None:
        self._groups = groups

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return b"".join(group.to_bytes(4, "little") for group in self._groups)


NOBODY: Any = Peer([])


def made() -> tuple[Scoreboard, Guard]:
    board = Scoreboard(slots=1)
    return board, Guard(board)


@given(LISTS, LISTS, LISTS, UIDS, UIDS, LISTS)
def test_order_of_the_rules(
    denied: list[int], users: list[int], groups: list[int], uid: int, gid: int, others: list[int]
) -> None:
    """The user's own rule decides, then his groups', then whether anybody is allowed by name."""
    _board, door = made()
    door.set_rules(denied, users, groups)
    if uid in denied:
        expected = False
    elif uid in users or {gid, *others} & set(groups):
        expected = True
    else:
        expected = not (users or groups)
    assert door.allows(Peer(others), uid, gid) == expected
    assert door.refusal(Peer(others), uid, gid) == (0 if expected else REFUSED_ACCESS)


def test_unknown_user_is_matched_by_no_rule() -> None:
    """A user that is not known is let in where everybody is who is not denied, and nowhere else."""
    _board, door = made()
    door.set_rules([0, 2**32 - 2], [], [])
    assert door.allows(NOBODY, UNKNOWN, UNKNOWN)
    for users, groups in (([0], []), ([], [0])):
        door.set_rules([], users, groups)
        assert not door.allows(NOBODY, UNKNOWN, UNKNOWN)


def test_rules_change_as_a_whole() -> None:
    """Rules that change are counted, the same ones are not, and the longest lists have room."""
    board, door = made()
    assert (board["rules"], board["guarded"]) == (0, 0)
    assert not door.set_rules([], [], [])
    longest = [*range(guard.LONGEST_LIST)]
    for number in (1, 2, 3):
        assert door.set_rules([number], longest[10:], longest)
        door.stand()
        assert (board["rules"], board["guarded"]) == (number, DOOR)
        assert not door.allows(NOBODY, number, 2000)
        assert door.allows(NOBODY, 2000, guard.LONGEST_LIST - 1)
        assert not door.set_rules([number], longest[10:], longest)
    door.set_rules([], [], [])
    door.stand()
    assert (board["rules"], board["guarded"]) == (4, 0)


def test_kept_out_for_a_while() -> None:
    """Who is kept out is refused until his time is over, and nobody else is; the scoreboard says how many there are."""
    board, door = made()
    now = now_usec()
    door.keep_out(7, now + 60_000_000, now)
    assert (board["penalised"], board["guarded"]) == (1, DOOR)
    assert [door.refusal(NOBODY, uid, 0) for uid in (6, 7, 8, UNKNOWN)] == [0, REFUSED_RATE, 0, 0]
    door.keep_out(7, now - 1, now - 2)
    assert door.refusal(NOBODY, 7, 0) == 0
    door.let_in(now)
    assert (board["penalised"], board["guarded"]) == (0, 0)


def test_more_than_can_be_kept_out() -> None:
    """Where more users are to be kept out than the table holds, those come in again whose time is over first."""
    board, door = made()
    now = now_usec()
    for uid in range(guard.PENALTIES + 10):
        door.keep_out(uid, now + 60_000_000 + uid, now)
    assert board["penalised"] == guard.PENALTIES
    assert [door.refusal(NOBODY, uid, 0) for uid in (0, 9)] == [0, 0]
    assert [door.refusal(NOBODY, uid, 0) for uid in (10, guard.PENALTIES + 9)] == [REFUSED_RATE] * 2
    door.let_everybody_in()
    assert board["penalised"] == 0
