"""The promises of the queue: users take turns, and no user has all of it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stage import ALICE, BOB, CAROL, connection

from upperd.server.dispatcher import SHARE, WaitingQueue
from upperd.server.limits import Limits
from upperd.server.roster import Connection, User
from upperd.server.scoreboard import Scoreboard

SERVER: Any = None


class Stage:
    """A queue for so many connections, and its users."""

    def __init__(self, max_queue: int = 100) -> None:
        self.board = Scoreboard(slots=1)
        self.limits = Limits(1, 1, 1, max_queue)
        self.queue = WaitingQueue(self.board, self.limits)
        self.users = {uid: User(uid) for uid in (ALICE, BOB, CAROL)}

    def add(self, *uids: int, first: bool = False) -> list[Connection]:
        """A connection of each of these users waits."""
        added = [connection(SERVER, uid) for uid in uids]
        for one in added:
            self.queue.add(self.users[one.peer[0]], one, first=first)
        return added

    def serve(self, count: int) -> list[Connection]:
        """As many are served, in turn."""
        return [self.queue.take(self.queue.users()[0]) for _ in range(count)]


@pytest.fixture
def stage() -> Stage:
    """An empty queue."""
    return Stage()


def test_users_take_turns(stage: Stage) -> None:
    """Behind any number of one user's connections another user's is the next but one, each user's in their order."""
    alices = stage.add(*[ALICE] * 5)
    bobs = stage.add(BOB, BOB)
    assert stage.serve(7) == [alices[0], bobs[0], alices[1], bobs[1], *alices[2:]]


def test_newcomers_are_next(stage: Stage) -> None:
    """A user whose turn is over stands behind a user that came meanwhile."""
    stage.add(*[ALICE] * 300)
    stage.serve(1)
    [new] = stage.add(BOB)
    assert stage.serve(2)[1] is new


def test_one_that_had_its_turn_comes_first(stage: Stage) -> None:
    """A connection that is handed over again is before the others of its user, and is not counted once more."""
    second, third = stage.add(ALICE, ALICE)
    [first] = stage.add(ALICE, first=True)
    assert stage.board["waited"] == 2
    assert stage.serve(3) == [first, second, third]


def test_share() -> None:
    """A user may have a quarter of the queue, at least one place, and all users together no more than it has."""
    stage = Stage(max_queue=40)
    for uid in (ALICE, BOB):
        for _ in range(40 // SHARE):
            assert stage.queue.has_room(stage.users[uid])
            stage.add(uid)
        assert not stage.queue.has_room(stage.users[uid])
    assert stage.queue.has_room(stage.users[CAROL])
    stage.limits.max_queue = 20
    assert stage.queue.is_full
    assert not stage.queue.has_room(stage.users[CAROL])
    assert Stage(max_queue=1).queue.has_room(User(ALICE))


def test_what_is_taken_out(stage: Stage) -> None:
    """Connections can be taken out wherever they wait; the others keep their order, and their users their turns."""
    first, second, third, bobs = stage.add(ALICE, ALICE, ALICE, BOB)
    stage.queue.remove([second, bobs])
    assert list(stage.queue) == [first, third]
    assert (len(stage.queue), stage.queue.waiting_users, list(stage.users[BOB].waiting)) == (2, 1, [])
    [again] = stage.add(BOB)
    assert stage.serve(3) == [first, again, third]


@given(st.lists(st.sampled_from([ALICE, BOB, CAROL, None]), max_size=60))
def test_figures_and_fairness(steps: list[int | None]) -> None:
    """Whatever comes and goes, the scoreboard says who waits, and no user is served twice while another waits."""
    stage = Stage()
    since_served: dict[int, Counter[int]] = {}
    for uid in steps:
        if uid is not None:
            stage.add(uid)
            since_served.setdefault(uid, Counter())
        elif stage.queue:
            [served] = stage.serve(1)
            since_served.pop(served.peer[0])
            for others in since_served.values():
                others[served.peer[0]] += 1
                assert others[served.peer[0]] <= 1
            if stage.users[served.peer[0]].waiting:
                since_served[served.peer[0]] = Counter()
        waiting = Counter(one.peer[0] for one in stage.queue)
        assert (stage.board["queued"], stage.board["queued_users"]) == (waiting.total(), len(waiting))
        assert len(stage.queue) == waiting.total()
        assert bool(stage.queue) == bool(waiting)
