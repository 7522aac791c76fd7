"""The dispatcher: no child serves two users, no connection has two holders, and none is lost."""

from __future__ import annotations

import os
import socket
import threading

import pytest
from stage import ALICE, BOB, Stage, with_room

from upperd.server import handover, registry
from upperd.server.dispatcher import MOST_TRIES
from upperd.server.handover import Order
from upperd.server.layout import CONNECTED, HANDED, PEER_GID, PEER_PID, PEER_UID, TELL, UNKNOWN, now_usec

# Threads


class _Watched(dict[object, None]):
    """Children that serve a user; notes whether another thread could fork while the dictionary changes."""

    could_fork = False

    def _look(self) -> None:
        found: list[bool] = []
        thread = threading.Thread(target=lambda: found.append(registry.lock.acquire(blocking=False)))
        thread.start()
        thread.join()
        self.could_fork |= found[0]

    def __setitem__(self, child: object, value: None) -> None:
        self._look()
        super().__setitem__(child, value)

    def __delitem__(self, child: object) -> None:
        super().__delitem__(child)
        self._look()


@with_room(most=1, per_user=1)
def test_no_other_thread_forks_while_a_connection_moves(stage: Stage) -> None:
    """No other thread forks while a connection is in neither the queue nor a child: its child would keep a copy."""
    first, second = stage.comes(ALICE), stage.comes(ALICE)
    child = stage.holder(first)
    assert child is not None
    child.finishes()
    stage.roster.settle(child)
    user = stage.roster.user(ALICE)
    user.busy = watched = _Watched(user.busy)  # type: ignore[arg-type, assignment]
    stage.dispatcher.serve_queue()
    assert stage.holder(second) is child
    stage.ends(child)  # before it has begun, so the connection goes back to the queue
    assert not watched.could_fork


# Choosing


def test_a_child_is_used_again_for_its_user_only(stage: Stage) -> None:
    """A user's next connection goes to its own child that has finished, and never another user's."""
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
    """While a child is spare none is forked for a user's first connection, nor for its second at the same time."""
    stage.population.fork(0, 2)
    assert {stage.holder(stage.comes(ALICE)) for _ in range(2)} == {*stage.population.living}


@with_room(most=1, per_user=1)
def test_peers_that_are_not_known_share_no_child(stage: Stage) -> None:
    """The child of an unknown peer serves that one connection, and is told so."""
    child = stage.holder(stage.comes(UNKNOWN, is_reusable=False))
    assert child is not None
    order = Order(*handover.receive(child.theirs) or ())
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
    orders = [Order(*handover.receive(child.theirs) or ()) for _ in range(2)]
    assert [order.is_last for order in orders] == [False, True]
    for order in orders:
        os.close(order.connection)


@with_room(most=4, per_user=2)
def test_children_of_one_user_are_limited(stage: Stage) -> None:
    """A user at its limit of children waits for one of them, even if there is room; another user does not."""
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
    """The child receives the connection, its peer and the limit; its place records the user, and the time."""
    stage.limits.max_bytes = 77
    ours, theirs = socket.socketpair()
    before = now_usec()
    child = stage.holder(stage.comes(ALICE, request=theirs.fileno()))
    assert child is not None
    order = Order(*handover.receive(child.theirs) or ())
    assert (order.address, order.max_bytes, order.listener) == (f"client of {ALICE}", 77, 0)
    assert (order.user, order.peer) == (ALICE, (ALICE, ALICE, 1))
    place = child.place
    assert [place[field] for field in (PEER_UID, PEER_GID, PEER_PID, HANDED)] == [ALICE, ALICE, 1, 1]
    assert child.row[TELL] == 0
    assert before <= place[CONNECTED] <= now_usec()
    with ours, theirs, socket.socket(fileno=order.connection) as received:
        ours.send(b"x")
        assert received.recv(1) == b"x"


def test_a_connection_that_was_not_begun_goes_to_another(stage: Stage) -> None:
    """If a child ends before it has begun, another gets its connection, first of its user, and that is counted."""
    one = stage.comes(ALICE)
    first = stage.holder(one)
    stage.ends(first)
    second = stage.holder(one)
    assert second not in (None, first)
    assert (stage.board["handed_again"], stage.server.shut, stage.server.closed) == (1, [], [])


def test_a_connection_that_was_begun_has_one_holder(stage: Stage) -> None:
    """If a child ends after it has begun, its connection is over: no other child gets it."""
    child = stage.holder(stage.comes(ALICE))
    assert child is not None
    child.starts()
    stage.ends(child)
    assert (stage.server.closed, stage.population.given_up, stage.board["handed_again"]) == ([0], [], 0)
    assert stage.roster.serving() == []


def test_a_connection_that_kills_its_children(stage: Stage) -> None:
    """A connection whose children keep ending before they begin is given up, closed, and counted."""
    one = stage.comes(ALICE)
    for _ in range(MOST_TRIES):
        stage.ends(stage.holder(one))
    assert (stage.board["lost"], stage.population.given_up, stage.server.shut) == (1, [ALICE], [0])
    assert len(stage.population.living) == 0


def test_children_that_end_before_they_read(stage: Stage) -> None:
    """A child that ends before it reads of its connection is not that connection's fault: it is never given up."""
    one = stage.comes(ALICE)
    for _ in range(MOST_TRIES + 1):
        child = stage.holder(one)
        assert child is not None
        child.has_unread = True
        stage.ends(child)
    assert stage.holder(one) is not None
    assert (stage.board["lost"], stage.board["handed_again"]) == (0, MOST_TRIES + 1)


def test_a_child_whose_channel_is_broken(stage: Stage) -> None:
    """If the hand-over fails the child is told to leave, and another one gets the connection."""
    [broken] = stage.population.fork(0, 1)
    broken.theirs.close()
    one = stage.comes(ALICE)
    stage.dispatcher.serve_queue()
    assert stage.holder(one) not in (None, broken)
    assert stage.population.let == [broken]


@with_room(most=1, per_user=1)
def test_what_cannot_be_handed_over(stage: Stage) -> None:
    """A request too large for a channel is served by a child forked for it, which ends with it, within the limits."""
    [spare] = stage.population.fork(0, 1)
    request = object()
    one = stage.comes(ALICE, request=request)
    stage.dispatcher.serve_queue()
    assert (stage.holder(one), stage.population.let) == (None, [spare])
    stage.ends(spare)
    child = stage.holder(one)
    assert child is not None
    assert (stage.population.forked_for, child.is_leaving, child.place[HANDED]) == ([request], True, 1)
    with pytest.raises(BlockingIOError):
        child.theirs.recv(1, socket.MSG_DONTWAIT)
