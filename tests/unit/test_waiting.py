"""The queue: which connection waits for a child, for how long, and which child makes room."""

from __future__ import annotations

from typing import Any

from stage import ALICE, BOB, CAROL, Server, Stage, connection, with_room

from upperd.server.layout import TELL


@with_room(most=1, per_user=1)
def test_an_idle_child_makes_room_for_another_user(stage: Stage) -> None:
    """If another user's idle child has the last place it is told to leave, one for each user that waits."""
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
def test_a_user_waits_for_its_own_child_first(stage: Stage) -> None:
    """A user with children waits a moment for one of them before another user loses an idle one."""
    idle, busy = stage.holder(stage.comes(BOB)), stage.holder(stage.comes(ALICE))
    assert idle is not None
    assert busy is not None
    idle.finishes()
    stage.roster.settle(idle)
    waits = stage.comes(ALICE)
    stage.dispatcher.serve_queue()
    assert (stage.holder(waits), stage.population.let) == (None, [])
    busy.finishes()
    stage.roster.settle(busy)
    stage.dispatcher.serve_queue()
    assert (stage.holder(waits), stage.population.let) == (busy, [])


@with_room(most=2, per_user=2)
def test_a_user_does_not_wait_for_long(stage: Stage) -> None:
    """If the user's own children go on serving, another user's idle child makes room, by a timer."""
    idle, _ = stage.holder(stage.comes(BOB)), stage.comes(ALICE)
    assert idle is not None
    idle.finishes()
    stage.roster.settle(idle)
    waits = stage.comes(ALICE)
    stage.loop.turn(10)  # the loop was woken, to look once more
    stage.dispatcher.serve_queue()
    assert stage.population.let == []
    while not stage.population.let:
        stage.loop.turn(10)
        stage.dispatcher.serve_queue()
    assert stage.population.let == [idle]
    stage.ends(idle)
    assert stage.holder(waits) is not None


@with_room(most=16, per_user=16)
def test_several_idle_children_make_room_at_once(stage: Stage) -> None:
    """With many children several idle ones make room together, and once most have left others are forked together."""
    stage.population.share = 2
    children = [stage.holder(stage.comes(uid)) for uid in range(100, 116)]
    for child in children:
        assert child is not None
        child.finishes()
        stage.roster.settle(child)
    bobs, carols, alices = (stage.comes(uid) for uid in (BOB, CAROL, ALICE))
    stage.dispatcher.serve_queue()
    assert stage.population.let == children[:3]
    stage.ends(children[0])
    assert stage.holder(bobs) is None
    stage.ends(children[1])
    assert None not in (stage.holder(bobs), stage.holder(carols))
    stage.ends(children[2])
    assert stage.holder(alices) is not None
    assert stage.population.let == children[:3]


@with_room(most=2, per_user=2)
def test_users_take_turns(stage: Stage) -> None:
    """With every child busy and many of one user's connections waiting, another user's is served second."""
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
    """When a connection begins to wait every busy child is asked to report; one that finished just before is seen."""
    first = stage.comes(ALICE)
    child = stage.holder(first)
    assert child is not None
    child.starts()
    assert child.row[TELL] == 0
    second = stage.comes(ALICE)
    assert (stage.holder(second), child.row[TELL]) == (None, 1)
    child.finishes()  # it had read that no report was asked for
    assert stage.loop.turn(10)
    stage.dispatcher.serve_queue()
    assert stage.holder(second) is child
    assert child.row[TELL] == 0


@with_room(most=1, per_user=1)
def test_an_old_word_of_a_child(stage: Stage) -> None:
    """A child's late report of an earlier connection does not end the one that it serves now."""
    child = stage.holder(stage.comes(ALICE))
    assert child is not None
    child.finishes()
    second = stage.comes(ALICE)
    assert stage.holder(second) is child
    stage.roster.settle(child)
    assert stage.holder(second) is child
