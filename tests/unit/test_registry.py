"""The registry: a child closes the descriptors of all parents, of any server, and keeps what it needs."""

from __future__ import annotations

import os
import stat
import subprocess
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upperd.server import registry
from upperd.server.parent import Parent

LIMIT = os.sysconf("SC_OPEN_MAX")


class Owner:
    """A parent with these descriptors."""

    def __init__(self, *descriptors: int) -> None:
        self._descriptors = descriptors

    def descriptors(self) -> tuple[int, ...]:
        """The descriptors."""
        return self._descriptors


Closed = list[tuple[int, int]]


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> Closed:
    """The ranges that are closed, without a registered parent; the lock is held, as around a fork."""
    closed: Closed = []
    monkeypatch.setattr(registry, "owners", set())
    monkeypatch.setattr(registry, "closerange", lambda low, high: closed.append((low, high)))
    registry.lock.acquire()  # as around a fork
    return closed


def test_what_is_any_parents_is_closed(closed: Closed) -> None:
    """All parents' descriptors and the given ones are closed, except the kept ones; then the parents are forgotten."""
    registry.owners.update((Owner(9, 5, 6), Owner(7, -1, 6)))
    registry.become_child(registry.ranges_to_close([0, 1, 2, 7], everything=False, besides=[12, 7]))
    assert sorted(closed) == [(5, 6), (6, 7), (9, 10), (12, 13)]
    assert registry.owners == set()


@pytest.mark.parametrize(
    ("kept", "ranges"),
    [
        ([2, 0, 1, 9, 9], [(3, 9), (10, LIMIT)]),
        ([1, LIMIT + 5], [(0, 1), (2, LIMIT + 5)]),
        ([0, 5], [(1, 5), (6, LIMIT)]),
    ],
)
def test_everything_but_what_is_kept(closed: Closed, kept: list[int], ranges: Closed) -> None:
    """A child that keeps nothing else closes all other possible numbers, up to a kept one beyond the limit."""
    registry.become_child(registry.ranges_to_close(kept, everything=True))
    assert closed == ranges


@given(st.sets(st.integers(0, 30), min_size=1), st.sets(st.integers(0, 30)), st.booleans())
def test_no_kept_one_is_closed(keep: set[int], open_ones: set[int], everything: bool) -> None:
    """Whatever is open, exactly the descriptors that are not kept are closed."""
    closed: set[int] = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "owners", {Owner(*open_ones)})
        patch.setattr(registry, "closerange", lambda low, high: closed.update(range(low, high)))
        registry.lock.acquire()
        registry.become_child(registry.ranges_to_close(keep, everything=everything))
    assert closed == (set(range(LIMIT)) if everything else open_ones) - keep


def test_what_is_closed_already(monkeypatch: pytest.MonkeyPatch) -> None:
    """A descriptor that is closed already is no error."""
    low, high = os.pipe()
    kept = os.dup(low)
    monkeypatch.setattr(registry, "owners", set())
    for _ in range(2):
        registry.lock.acquire()
        registry.become_child(registry.ranges_to_close([0], everything=False, besides=[low, high]))
    assert os.fstat(kept)
    for number in (low, high):
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(number)
    os.close(kept)


def test_parents_are_registered_until_they_are_closed() -> None:
    """Each parent of the program is registered from its beginning to its end, with its open descriptors."""
    before = set(registry.owners)
    parents = [Parent(), Parent()]
    assert registry.owners == before | set(parents)
    assert all(os.fstat(number) for parent in parents for number in parent.descriptors() if number >= 0)
    for parent in parents:
        parent.close()
    assert registry.owners == before


def test_pipe_of_a_subprocess_that_another_thread_makes(monkeypatch: pytest.MonkeyPatch) -> None:
    """While another thread makes a subprocess, the pipe that no child may keep is named; not before and not after."""
    at_the_fork, goes_on = threading.Event(), threading.Event()
    fork_exec = subprocess._fork_exec  # type: ignore[attr-defined]

    def waiting(*arguments: Any) -> int:
        at_the_fork.set()
        goes_on.wait(30)
        return int(fork_exec(*arguments))

    monkeypatch.setattr(subprocess, "_fork_exec", waiting)
    assert list(registry.popen_pipes()) == []
    thread = threading.Thread(target=subprocess.run, args=(["true"],))
    thread.start()
    try:
        assert at_the_fork.wait(30)
        [pipe] = registry.popen_pipes()
        assert stat.S_ISFIFO(os.fstat(pipe).st_mode)
    finally:
        goes_on.set()
        thread.join(30)
    assert list(registry.popen_pipes()) == []
