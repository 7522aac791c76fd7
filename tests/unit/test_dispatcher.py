"""The promises of the dispatcher: a child never serves two users, a connection never has two holders, none is lost."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from stage import ALICE, BOB, CAROL, MadeUpChild, Population, Server, connection

from upperd.server import handover
from upperd.server.dispatcher import MOST_TRIES, Dispatcher, WaitingQueue
from upperd.server.layout import CONNECTED, HANDED, PEER_GID, PEER_PID, PEER_UID, TELL, UNKNOWN, now_usec
from upperd.server.limits import Limits
from upperd.server.loop import Loop
from upperd.server.roster import Connection, Roster
from upperd.server.scoreboard import Scoreboard


class Stage:
    """A dispatcher with room for so many children."""

    def __init__(self, most: int = 4, per_user: int = 4, max_queue: int = 100) -> None:
        self.board = Scoreboard(slots=100)
        self.loop = Loop()
        self.loop.turn(0)
        self.limits = Limits(most, 0, per_user, max_queue)
        self.queue = WaitingQueue(self.board, self.limits)
        self.roster = Roster()
        self.population: Any = Population(self.board, most)
        self.observer = self.population.observer
        parent: Any = self
        self.dispatcher = Dispatcher(parent)
        self.population.ended = self.dispatcher.ended
        self.server: Any = Server()

    def comes(self, uid: int, **options: Any) -> Connection:
        """A connection of this user comes."""
        new = connection(self.server, uid, **options)
        assert self.dispatcher.serve(new)
        return new

    def holder(self, one: Connection) -> MadeUpChild | None:
        """The child that has this connection; None: it waits."""
        holders = [child for child in self.roster.serving() if child.connection is one]
        assert len(holders) + list(self.queue).count(one) == 1
        return holders[0] if holders else None  # type: ignore[return-value]

    def ends(self, child: Any) -> None:
        """A child was reaped, and the parent's turn goes on."""
        self.population.ends(child)
        self.dispatcher.serve_queue()


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """With room for four children, or as the test says."""
    stage = Stage(**getattr(request, "param", {}))
    yield stage
    stage.population.close()
    stage.loop.close()


def with_room(**options: int) -> pytest.MarkDecorator:
    """The stage of a test."""
    return pytest.mark.parametrize("stage", [options], indirect=True, ids=["room"])


# Choosing


def test_a_child_is_used_again_for_its_user_only(stage: Stage) -> None:
    """A user's next connection goes to its child that has finished, another user's never does."""
    first = stage.comes(ALICE)
    child = stage.holder(first)
    assert child is not None
    child.finishes()
    bobs = stage.comes(BOB)
    assert stage.holder(bobs) not in (None, child)
    assert stage.holder(stage.comes(ALICE)) is child
    assert stage.holder(stage.comes(ALICE)) not in (None, child)
    assert len(stage.population.living) == 3


def test_a_spare_child_is_taken_before_a_fork(stage: Stage) -> None:
    """Where a child is spare none is forked for a user's first connection, nor for its second at once."""
    stage.roster.spares(0).extend(stage.population.fork(0, 2))
    assert {stage.holder(stage.comes(ALICE)) for _ in range(2)} == {*stage.population.living}


@with_room(most=1, per_user=1)
def test_peers_that_are_not_known_share_no_child(stage: Stage) -> None:
    """The child of a peer that is not known serves that one connection, and is told so."""
    child = stage.holder(stage.comes(UNKNOWN, is_reusable=False))
    assert child is not None
    order = handover.receive(child.theirs)
    assert order is not None
    assert (order.is_last, child.is_leaving) == (True, True)
    os.close(order.connection)
    child.finishes()
    second = stage.comes(UNKNOWN, is_reusable=False)
    assert stage.holder(second) is None
    stage.ends(child)
    assert stage.holder(second) not in (None, child)


def test_a_child_serves_as_many_as_it_may(stage: Stage) -> None:
    """With its last connection a child is told to leave, and is handed nothing more."""
    stage.server.connections_per_child = 2
    child = stage.holder(stage.comes(ALICE))
    assert child is not None
    child.finishes()
    assert stage.holder(stage.comes(ALICE)) is child
    child.finishes()
    assert stage.holder(stage.comes(ALICE)) is not child
    orders: Any = [handover.receive(child.theirs) for _ in range(2)]
    assert [order.is_last for order in orders] == [False, True]
    for order in orders:
        os.close(order.connection)


@with_room(most=4, per_user=2)
def test_children_of_one_user_are_limited(stage: Stage) -> None:
    """A user that has as many children as it may waits for one of them, though there is room; another user does not."""
    first, _, third = (stage.comes(ALICE) for _ in range(3))
    assert stage.holder(third) is None
    assert stage.holder(stage.comes(BOB)) is not None
    child = stage.holder(first)
    assert child is not None
    child.finishes()
    stage.roster.settle(child)
    stage.dispatcher.serve_queue()
    assert stage.holder(third) is child


# Handing over


def test_what_is_handed_over(stage: Stage) -> None:
    """The child receives the connection, the address and the limit, and its row says whose it is, and since when."""
    stage.limits.max_bytes = 77
    ours, theirs = socket.socketpair()
    before = now_usec()
    child = stage.holder(stage.comes(ALICE, request=theirs.fileno()))
    assert child is not None
    order = handover.receive(child.theirs)
    assert order is not None
    assert (order.address, order.max_bytes, order.listener) == (f"client of {ALICE}", 77, 0)
    words = child.words
    assert [words[field] for field in (PEER_UID, PEER_GID, PEER_PID, HANDED, TELL)] == [ALICE, ALICE, 1, 1, 0]
    assert before <= words[CONNECTED] <= now_usec()
    with ours, theirs, socket.socket(fileno=order.connection) as received:
        ours.send(b"x")
        assert received.recv(1) == b"x"


def test_a_connection_that_was_not_begun_goes_to_another(stage: Stage) -> None:
    """Where a child ends before it has begun, its connection is handed to another, first of its user, and counted."""
    one = stage.comes(ALICE)
    first = stage.holder(one)
    stage.ends(first)
    second = stage.holder(one)
    assert second not in (None, first)
    assert (stage.board["handed_again"], stage.server.shut, stage.server.closed) == (1, [], [])


def test_a_connection_that_was_begun_has_one_holder(stage: Stage) -> None:
    """Where a child ends that has begun, its connection is over: no other child has it."""
    child = stage.holder(stage.comes(ALICE))
    assert child is not None
    child.starts()
    stage.ends(child)
    assert (stage.server.closed, stage.population.given_up, stage.board["handed_again"]) == ([0], [], 0)
    assert stage.roster.serving() == []


def test_a_connection_that_kills_its_children(stage: Stage) -> None:
    """A connection that ends child after child before they begin is given up, closed, and counted."""
    one = stage.comes(ALICE)
    for _ in range(MOST_TRIES):
        stage.ends(stage.holder(one))
    assert (stage.board["lost"], stage.population.given_up, stage.server.shut) == (1, [ALICE], [0])
    assert len(stage.population.living) == 0


def test_a_child_whose_channel_is_broken(stage: Stage) -> None:
    """Where the hand-over fails the child is told to leave, and another one has the connection."""
    [broken] = stage.population.fork(0, 1)
    broken.theirs.close()
    stage.roster.spares(0).append(broken)
    one = stage.comes(ALICE)
    stage.dispatcher.serve_queue()
    assert stage.holder(one) not in (None, broken)
    assert stage.population.let == [broken]


@with_room(most=1, per_user=1)
def test_what_cannot_be_handed_over(stage: Stage) -> None:
    """What is too large for a channel is served by a child forked for it, which ends with it, within the limits."""
    [spare] = stage.population.fork(0, 1)
    stage.roster.spares(0).append(spare)
    request = object()
    one = stage.comes(ALICE, request=request)
    stage.dispatcher.serve_queue()
    assert (stage.holder(one), stage.population.let) == (None, [spare])
    stage.ends(spare)
    child = stage.holder(one)
    assert child is not None
    assert (stage.population.forked_for, child.is_leaving, child.words[HANDED]) == ([request], True, 1)
    with pytest.raises(BlockingIOError):
        child.theirs.recv(1, socket.MSG_DONTWAIT)


# Waiting


@with_room(most=1, per_user=1)
def test_an_idle_child_makes_room_for_another_user(stage: Stage) -> None:
    """Where an idle child of another user has the last place it is told to leave, one for each user that waits."""
    child = stage.holder(stage.comes(ALICE))
    assert child is not None
    child.finishes()
    stage.roster.settle(child)
    bobs = stage.comes(BOB)
    stage.dispatcher.serve_queue()
    assert (stage.holder(bobs), stage.population.let) == (None, [child])
    stage.ends(child)
    assert stage.holder(bobs) is not None


@with_room(most=1, per_user=1)
def test_an_idle_child_makes_room_for_its_own_user(stage: Stage) -> None:
    """A user's idle child that serves datagrams only does not keep the user's connections from being served."""
    datagrams: Any = Server(pool=7)
    assert stage.dispatcher.serve(connection(datagrams, ALICE))
    [child] = stage.population.living
    child.finishes()
    stage.roster.settle(child)
    one = stage.comes(ALICE)
    stage.dispatcher.serve_queue()
    assert stage.population.let == [child]
    stage.ends(child)
    assert stage.holder(one) not in (None, child)


@with_room(most=2, per_user=2)
def test_users_take_turns(stage: Stage) -> None:
    """With every child busy and many of one user's connections waiting, another user's is the next but one served."""
    for _ in range(2):
        stage.comes(ALICE)
    waiting = [stage.comes(ALICE) for _ in range(20)]
    bobs = stage.comes(BOB)
    for child in list(stage.population.living):
        child.starts()
        stage.ends(child)
    assert stage.holder(waiting[0]) is not None
    assert stage.holder(bobs) is not None
    assert stage.board["queued"] == 19


@with_room(most=1, per_user=1, max_queue=8)
def test_no_user_has_the_whole_queue(stage: Stage) -> None:
    """Beyond its share of the queue a user's connection is refused, another user's is not."""
    for _ in range(3):
        stage.comes(ALICE)
    assert not stage.dispatcher.serve(connection(stage.server, ALICE))
    stage.comes(BOB)
    stage.comes(CAROL)


@with_room(most=1, per_user=1)
def test_children_tell_while_a_connection_waits(stage: Stage) -> None:
    """From the moment a connection waits every busy child is asked to tell; one that finished just before is seen."""
    first = stage.comes(ALICE)
    child = stage.holder(first)
    assert child is not None
    child.starts()
    assert child.words[TELL] == 0
    second = stage.comes(ALICE)
    assert (stage.holder(second), child.words[TELL]) == (None, 1)
    child.finishes()  # it had read that it need not tell
    assert stage.loop.turn(10)
    stage.dispatcher.serve_queue()
    assert stage.holder(second) is child
    assert child.words[TELL] == 0


@with_room(most=1, per_user=1)
def test_an_old_word_of_a_child(stage: Stage) -> None:
    """A word that a child sends for an earlier connection does not end the one that it serves now."""
    child = stage.holder(stage.comes(ALICE))
    assert child is not None
    child.finishes()
    second = stage.comes(ALICE)
    assert stage.holder(second) is child
    stage.roster.settle(child)
    assert stage.holder(second) is child
