"""The roster: the user of each child, and the child to take when one is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from stage import ALICE, BOB, MadeUpChild, Server, connection

from upperd.server.layout import PEER_UID, UNKNOWN
from upperd.server.roster import LOOKS, Roster, User
from upperd.server.scoreboard import Scoreboard


class Stage:
    """A roster, and a server."""

    def __init__(self) -> None:
        self.board = Scoreboard(slots=200)
        self.roster = Roster()
        self.server: Any = Server()
        self.alice, self.bob = self.roster.user(ALICE), self.roster.user(BOB)
        self.children: list[MadeUpChild] = []

    def spare(self, pool: int = 0) -> MadeUpChild:
        """A spare child."""
        child = MadeUpChild(self.board, pool)
        self.children.append(child)
        self.roster.spares(pool).append(child)
        return child

    def busy(self, user: User, pool: int = 0) -> MadeUpChild:
        """A child of this user that serves."""
        child = self.spare(pool)
        self.roster.spares(pool).remove(child)
        self.roster.begin(child, user, connection(self.server, user.uid, len(self.children)), 5.0, tells=False)
        child.starts()
        return child

    def idle(self, user: User, pool: int = 0) -> MadeUpChild:
        """A child of this user that waits."""
        child = self.busy(user, pool)
        child.finishes()
        self.roster.settle(child)
        return child


@pytest.fixture
def stage() -> Iterator[Stage]:
    """A roster without a child."""
    stage = Stage()
    yield stage
    for child in stage.children:
        child.close()


def test_a_spare_child_becomes_its_users(stage: Stage) -> None:
    """A spare child that is handed a connection belongs to its user from then on, and is spare no more."""
    child = stage.busy(stage.alice)
    assert (child.user, child.place[PEER_UID], child.handed, child.handed_at) == (stage.alice, ALICE, 1, 5.0)
    assert (stage.roster.spares(0), stage.roster.busy, stage.roster.serving()) == ([], 1, [child])
    child.finishes()
    stage.roster.settle(child)
    assert stage.server.closed == [1]
    assert (stage.roster.busy, stage.roster.waiting(), child.connection) == (0, [child], None)
    assert stage.roster.take_idle(stage.bob, 0) is None
    assert stage.roster.take_idle(stage.alice, 0) is child
    assert stage.roster.take_idle(stage.alice, 0) is None


def test_the_last_one_that_finished_is_the_first(stage: Stage) -> None:
    """Of a user's idle children the one that finished last is taken, so that the others can be let go."""
    children = [stage.busy(stage.alice) for _ in range(3)]
    for child in (children[1], children[0], children[2]):
        child.finishes()
        stage.roster.settle(child)
    assert [stage.roster.take_idle(stage.alice, 0) for _ in range(3)] == [children[2], children[0], children[1]]


def test_pools_are_apart(stage: Stage) -> None:
    """A child serves the servers of its own pool only."""
    stage.spare(pool=2)
    stage.idle(stage.alice, pool=3)
    assert (stage.roster.spares(0), stage.roster.take_idle(stage.alice, 0)) == ([], None)
    assert stage.roster.take_finished(stage.alice, 0) is None
    child = stage.busy(stage.alice, pool=3)
    child.finishes()
    assert stage.roster.take_finished(stage.alice, 0) is None
    assert stage.roster.take_finished(stage.alice, 3) is child


def test_a_child_that_has_finished_is_found_without_a_word(stage: Stage) -> None:
    """A child whose row says that it has finished can be taken; one that still serves, or leaves, cannot."""
    children = [stage.busy(stage.alice) for _ in range(3)]
    children[0].finishes()
    children[1].finishes()
    children[1].is_leaving = True
    assert stage.roster.take_finished(stage.bob, 0) is None
    assert stage.roster.take_finished(stage.alice, 0) is children[0]
    assert stage.roster.take_finished(stage.alice, 0) is None
    assert stage.roster.busy == 2


def test_a_users_many_busy_children_cost_few_looks(stage: Stage) -> None:
    """With very many busy children usually only the last ones are checked; all of them when it matters."""
    children = [stage.busy(stage.alice) for _ in range(LOOKS + 1)]
    children[0].finishes()
    assert stage.roster.take_finished(stage.alice, 0) is None
    stage.roster.look_at(stage.alice)
    assert stage.roster.take_idle(stage.alice, 0) is children[0]
    children[1].finishes()
    assert stage.roster.take_finished(stage.alice, 0) is children[1]


@pytest.mark.parametrize("why", ["is_leaving", "is_silent"])
def test_a_child_that_leaves_waits_for_nothing(stage: Stage, why: str) -> None:
    """A child that ends after its connection, or can be handed nothing more, does not wait when it has finished."""
    child = stage.busy(stage.alice)
    setattr(child, why, True)
    child.finishes()
    stage.roster.look_at_all()
    assert (stage.roster.waiting(), stage.roster.serving(), stage.server.closed) == ([], [], [1])
    assert (stage.roster.take_idle(stage.alice, 0), list(stage.alice.leaving)) == (None, [child])
    assert stage.roster.remove(child) is None


def test_whose_place_another_user_may_have(stage: Stage) -> None:
    """A user gets the place of another user's longest idle child, else of a spare one, never of its own child."""
    mine, first, second = stage.idle(stage.alice), stage.idle(stage.bob), stage.idle(stage.bob)
    spare = stage.spare(pool=7)
    assert [stage.roster.take_longest_idle(stage.alice, 0) for _ in range(4)] == [first, second, spare, None]
    assert stage.roster.waiting() == [mine]


def test_ones_own_place_in_another_pool(stage: Stage) -> None:
    """A user's idle child of another pool cannot serve the waiting connection, which may take that place, too."""
    mine = stage.idle(stage.alice, pool=7)
    assert stage.roster.take_longest_idle(stage.alice, 7) is None
    assert stage.roster.take_longest_idle(stage.alice, 0) is mine


@pytest.mark.parametrize("kind", [Stage.spare, Stage.idle, Stage.busy], ids=["spare", "idle", "busy"])
def test_a_child_that_ended_is_nowhere(stage: Stage, kind: Callable[..., MadeUpChild]) -> None:
    """A child that ended is found nowhere; a connection that it was handed and did not finish comes back, once."""
    child = kind(stage) if kind is Stage.spare else kind(stage, stage.alice)
    unfinished, connection = child.connection, stage.roster.remove(child)
    assert connection is unfinished
    assert (connection is not None) == (kind is Stage.busy)
    assert (stage.roster.waiting(), stage.roster.serving(), stage.roster.busy) == ([], [], 0)
    assert not stage.roster.has_waiting
    assert stage.roster.remove(child) is None


def test_users_are_forgotten(stage: Stage) -> None:
    """A user with neither a child nor a connection is forgotten, and no other."""
    stage.idle(stage.alice)
    stage.bob.waiting.append(connection(stage.server, BOB))
    stage.roster.user(UNKNOWN)
    stage.roster.forget_users()
    assert (stage.roster.user(ALICE), stage.roster.user(BOB)) == (stage.alice, stage.bob)
    assert len(stage.roster._users) == 2
