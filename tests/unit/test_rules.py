"""The access rules: the users that they admit, in the order of s6-ipcserver-access."""

import os
import socket
import struct

import pytest

from upperd.server import peer as peers
from upperd.server.layout import UNKNOWN
from upperd.service.policy import AccessRules

ALICE, BOB, STAFF, OTHERS = 61001, 61002, 62001, 62002


class _Peer:
    """A connection whose peer has these supplementary groups."""

    def __init__(self, *groups: int) -> None:
        self._groups = struct.pack(f"={len(groups)}I", *groups)

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """As the kernel."""
        return self._groups


def admits(
    rules: AccessRules, uid: int, gid: int = OTHERS, groups: tuple[int, ...] = (), *, is_private: bool = False
) -> bool:
    """Whether the rules admit such a peer."""
    return rules.admit(_Peer(*groups), (uid, gid, 1), is_private=is_private)


@pytest.mark.parametrize(
    ("denied", "users", "groups", "admitted"),
    [
        ((), (), (), {"alice", "bob", "staff", "unknown"}),
        ((ALICE,), (), (), {"bob", "staff", "unknown"}),
        ((), (ALICE,), (), {"alice"}),
        ((), (), (STAFF,), {"staff"}),
        ((ALICE,), (ALICE,), (STAFF,), {"staff"}),
        ((), (ALICE,), (STAFF,), {"alice", "staff"}),
    ],
)
def test_order(denied: tuple[int, ...], users: tuple[int, ...], groups: tuple[int, ...], admitted: set[str]) -> None:
    """A user's own rule comes first, denial before all; a rule that allows any name refuses all other users."""
    rules = AccessRules()
    rules.set(denied, users, groups)
    asked = {
        "alice": admits(rules, ALICE),
        "bob": admits(rules, BOB),
        "staff": admits(rules, BOB, groups=(1, STAFF)) and admits(rules, BOB, STAFF),
        "unknown": admits(rules, UNKNOWN, UNKNOWN),
    }
    assert {name for name, is_admitted in asked.items() if is_admitted} == admitted


def test_a_denied_user_is_let_in_by_no_group() -> None:
    """A user that is denied is refused, whichever group it is in."""
    rules = AccessRules()
    rules.set((BOB,), (), (STAFF,))
    assert not admits(rules, BOB, STAFF, (STAFF,))


def test_an_abstract_socket_is_private() -> None:
    """An abstract socket is for root and the daemon's own user, unless a user or group is allowed by name."""
    rules = AccessRules()
    assert all(admits(rules, uid, is_private=True) for uid in (0, os.geteuid()))
    assert not any(admits(rules, uid, is_private=True) for uid in (ALICE, UNKNOWN))
    rules.set((), (ALICE,), ())
    assert [admits(rules, uid, is_private=True) for uid in (ALICE, BOB)] == [True, False]


def test_groups_of_a_true_peer() -> None:
    """The kernel's groups of a peer are those of the process, and any allowed one of them admits it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert sorted(peers.groups(theirs)) == sorted(os.getgroups())
        peer = peers.of_unix(theirs)
        assert peer == (os.geteuid(), os.getegid(), os.getpid())
        rules = AccessRules()
        rules.set((), (), (os.getegid(),))
        assert rules.admit(theirs, peer)


@pytest.mark.parametrize("count", [256, 257, 1500])
def test_a_peer_of_many_groups(count: int) -> None:
    """However many groups a peer has, all of them are seen."""
    if os.geteuid() != 0:
        pytest.skip("setting groups takes root")
    many, before = list(range(100_000, 100_000 + count)), os.getgroups()
    os.setgroups(many)
    try:
        ours, theirs = socket.socketpair()
    finally:
        os.setgroups(before)
    with ours, theirs:
        assert sorted(peers.groups(theirs)) == many


def test_a_socket_that_has_no_groups() -> None:
    """The groups of a TCP peer are unknown, which is no error."""
    with socket.socket() as sock:
        assert peers.groups(sock) == []
