"""The policy: settings affect rules, rates, limits and scoreboard, and a reload affects open connections."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from upperd.server.connection import Connection
from upperd.server.layout import ENDING, UNKNOWN, Outcome
from upperd.server.parent import Parent
from upperd.server.roster import Child
from upperd.service.options import Options
from upperd.service.policy import Policy
from upperd.service.settings import Settings

ALICE, BOB = 61001, 61002


def settings(**values: Any) -> Settings:
    """The default settings, changed by these values."""
    return Settings(**{**vars(Options()), **values})


class _Server:
    """A server that notes what becomes of its requests."""

    listener = 0
    is_datagram = False
    connections_per_child = 1000
    server_address: object = "/s"

    def __init__(self) -> None:
        self.refused_uids: list[tuple[int, str]] = []
        self.shut: list[object] = []
        self.shutdown_request = self.shut.append

    def refused(self, request: object, peer: tuple[int, int, int], reason: str) -> None:
        """As the hook."""
        self.refused_uids.append((peer[0], reason))

    def user_of(self, uid: int) -> int:
        """As the hook: every uid counts for itself."""
        return uid

    def descriptors(self) -> tuple[int, ...]:
        """No descriptors of its own."""
        return ()

    def descriptor_of(self, request: object) -> int:
        """Without a descriptor."""
        return -1

    def close_request(self, request: object) -> None:
        """Nothing to close."""


@pytest.fixture
def parent() -> Iterator[Parent]:
    """A parent without a child."""
    parent = Parent()
    yield parent
    parent.close()


@pytest.fixture
def server(parent: Parent) -> Any:
    """The parent's server."""
    server: Any = _Server()
    parent.servers.append(server)
    return server


def connection(server: Any, uid: int) -> Connection:
    """A connection of this user."""
    return Connection(server, SimpleNamespace(), "", (uid, UNKNOWN, UNKNOWN), is_reusable=True)


def child_of(parent: Parent, server: Any, uid: int) -> Child:
    """A child that serves a connection of this user."""
    control: Any = SimpleNamespace(shutdown=lambda how: None)
    child = Child(2**31 - 1, *parent.board.claim(), control, 0)
    parent.roster.begin(child, parent.roster.user(uid), connection(server, uid), 0.0, tells=False)
    return child


def test_reasons() -> None:
    """A peer is refused by the rules or for its rate, with that reason; others are not refused."""
    policy = Policy(settings(deny_user=(BOB,), max_rate_per_user=1.0))
    peers = [(uid, UNKNOWN, UNKNOWN) for uid in (ALICE, BOB, ALICE, BOB)]
    assert [policy.refusal(None, peer, is_private=False) for peer in peers] == [
        "", "refused_access", "refused_rate", "refused_access",
    ]  # fmt: skip
    assert policy.refusal(None, (ALICE, UNKNOWN, UNKNOWN), is_private=True) == "refused_access"


def test_subordinate_uids_count_as_their_owner() -> None:
    """A user that is denied, or over its rate, is refused under its subordinate uids, too."""
    policy = Policy(settings(deny_user=(BOB,), max_rate_per_user=1.0, subordinate_uids=(100, 10, BOB, 200, 10, ALICE)))
    peers = [(uid, UNKNOWN, UNKNOWN) for uid in (109, 110, ALICE, 200)]
    assert [policy.refusal(None, peer, is_private=False) for peer in peers] == [
        "refused_access", "", "", "refused_rate",
    ]  # fmt: skip
    assert Policy(settings()).refusal(None, peers[0], is_private=False) == ""


def test_limits_are_followed(parent: Parent, server: Any) -> None:
    """A reload makes the parent follow every limit of the settings, and the scoreboard shows them."""
    policy = Policy(settings())
    changed = {"max_children": 100, "spare_children": 3, "max_children_per_user": 50, "max_queue": 77, "max_bytes": 9}
    found = settings(**changed, idle_timeout=1.5, max_lifetime=2.5, reuse_unknown=True, connections_per_child=5)
    policy.follow(found, parent)
    limits = policy.limits
    assert {name: getattr(limits, name) for name in changed} == changed
    assert (limits.idle_timeout, limits.max_lifetime, limits.reuses_unknown) == (1.5, 2.5, True)
    assert server.connections_per_child == parent.board["connections_per_child"] == 5
    assert {name: parent.board[name] for name in changed} == changed
    assert (parent.board["idle_timeout_usec"], parent.board["max_lifetime_usec"]) == (1_500_000, 2_500_000)
    assert parent.board["slots"] == 100


@pytest.mark.parametrize(("per_user", "most"), [(0, 10), (5, 5), (50, 10)])
def test_children_of_one_user(per_user: int, most: int) -> None:
    """0 lets one user have every child, and no value lets it have more than exist."""
    assert Policy(settings(max_children=10, max_children_per_user=per_user)).limits.max_children_per_user == most


def test_shortest_time(parent: Parent) -> None:
    """A limit below the clock's resolution is still a limit."""
    found = settings(idle_timeout=1e-9, max_lifetime=1e-9)
    Policy(found).say(found, parent.board)
    assert (parent.board["idle_timeout_usec"], parent.board["max_lifetime_usec"]) == (1, 1)


def test_a_reload_judges_those_inside_anew(parent: Parent, server: Any) -> None:
    """A reload ends the waiting and the served connections of a user that it denies; others stay."""
    policy = Policy(settings())
    served = {uid: child_of(parent, server, uid) for uid in (ALICE, BOB)}
    for uid in (ALICE, BOB, BOB):
        parent.queue.add(parent.roster.user(uid), connection(server, uid))
    policy.follow(settings(deny_user=(BOB,)), parent)
    assert [child.place[ENDING] for child in served.values()] == [0, Outcome.DENIED]
    assert parent.board["ended_access"] == 1
    assert [connection.peer[0] for connection in parent.queue] == [ALICE]
    assert server.refused_uids == [(BOB, "refused_access")] * 2
    assert len(server.shut) == 2


def test_a_datagram_is_not_judged_anew(parent: Parent, server: Any) -> None:
    """A reload does not end a datagram that is being served, since it is over in an instant."""
    server.is_datagram = True
    child = child_of(parent, server, BOB)
    Policy(settings()).follow(settings(deny_user=(BOB,)), parent)
    assert child.place[ENDING] == 0
