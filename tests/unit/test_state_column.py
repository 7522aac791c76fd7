"""The promises of the state column: who waits where, whom a busy child serves, and who of a user's children may."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from upperd.server import layout
from upperd.server.layout import BUSY, FREE, UNKNOWN, WAITING
from upperd.server.scoreboard import Scoreboard
from upperd.server.snapshot import Snapshot


def taken(board: Scoreboard) -> Snapshot:
    """What a reader finds at this moment."""
    return Snapshot(bytes(board._map))


def test_states_are_counted() -> None:
    """The waiting are counted by listener, the busy all together, the living with their states."""
    board = Scoreboard(slots=8)
    for state in (BUSY, WAITING, WAITING + 2, WAITING + 2):
        board.claim(0, state)
    assert (board.busy(), board.waiting(0), board.waiting(1), board.waiting(2)) == (1, 1, 0, 2)
    assert [row.state for row in board.living()] == [BUSY, WAITING, WAITING + 2, WAITING + 2]
    snapshot = taken(board)
    assert (snapshot.busy, snapshot.spare) == (1, 3)


def test_take_says_when_to_poke() -> None:
    """Taking a connection asks for a poke once fewer than `poke_below` wait on that listener."""
    board = Scoreboard(slots=4)
    board["poke_below"] = 2
    slots = [board.claim(1, WAITING + 1)[1] for _ in range(3)]
    assert [slot.take(1000) for slot in slots] == [False, True, True]
    assert board.busy() == 3


def test_states_of_a_child() -> None:
    """A child that takes a connection is busy, one that waits is found at its listener, each in its slot alone."""
    board = Scoreboard(slots=2)
    index, slot = board.claim(126, WAITING + 126)
    assert (board.state(index), board.is_waiting(index)) == (WAITING + 126, True)
    slot.take(UNKNOWN)
    assert (board.state(index), board.is_waiting(index), board.state(1 - index)) == (BUSY, False, FREE)
    slot.wait()
    assert (board.state(index), board.is_waiting(index), board.waiting(126)) == (WAITING + 126, True, 1)
    slot.set_busy()
    assert (board.state(index), board.is_waiting(index), board.waiting(126)) == (BUSY, False, 0)


UIDS = st.sampled_from([0, 1, 126, 127, 128, 254, 255, 1000, 2**31, 2**32 - 2, UNKNOWN]) | st.integers(0, 2**32 - 2)


@given(st.lists(UIDS, min_size=1, max_size=20), UIDS)
def test_busy_children_of_a_user(uids: list[int], sought: int) -> None:
    """Counting a user's word in the state column finds his busy children, and nobody else's, whatever the uids are."""
    board = Scoreboard(slots=32)
    board.claim(0, WAITING + 3)
    board.claim(0, BUSY)  # not yet known whose
    for uid in uids:
        _, slot = board.claim(3, WAITING + 3)
        slot.take(uid)
    column = memoryview(bytes(board._map)[layout.STATES : layout.TABLE]).cast("Q").tolist()
    assert column.count(layout.cell(BUSY, sought)) == uids.count(sought)
    assert (board.busy(), board.waiting(3)) == (len(uids) + 1, 1)


def test_the_first_children_of_a_user_may_serve() -> None:
    """At the limit of a user those of his children may serve that were first, and no other user is concerned."""
    board = Scoreboard(slots=8)
    board["max_children_per_user"] = 2
    slots = [board.claim(0, WAITING)[1] for _ in range(6)]
    for slot in slots[:4]:
        slot.take(7)
    slots[4].take(8)
    assert [slot.may_serve(7) for slot in reversed(slots[:4])] == [False, False, True, True]
    assert slots[4].may_serve(8)
    slots[0].wait()
    assert slots[2].may_serve(7)


@given(st.lists(UIDS, min_size=1, max_size=12), st.integers(0, 4))
def test_users_are_told_apart(uids: list[int], limit: int) -> None:
    """Whoever takes a connection may serve it unless so many others serve the same user; 0 stands for no limit."""
    board = Scoreboard(slots=16)
    board["max_children_per_user"] = limit
    for number, uid in enumerate(uids):
        _, slot = board.claim(0, WAITING)
        slot.take(uid)
        assert slot.may_serve(uid) == (not limit or uids[:number].count(uid) < limit)


def test_a_child_that_is_stuck_while_it_takes() -> None:
    """A child that was stopped between its word in the column and its look at the clock counts as the first."""
    board = Scoreboard(slots=2)
    board["max_children_per_user"] = 1
    stuck, _ = board.claim(0, BUSY)
    board.column[stuck] = layout.cell(BUSY, 7)
    _, slot = board.claim(0, WAITING)
    slot.take(7)
    assert not slot.may_serve(7)
