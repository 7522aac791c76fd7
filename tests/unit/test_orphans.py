"""The reaper of process 1: it reaps strangers, and no other child, whatever the order of their ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from upperd.service import orphans
from upperd.service.orphans import Orphans


class Ended:
    """Children of this process that have ended, in the order in which the kernel reports them."""

    def __init__(self) -> None:
        self.pids: list[int] = []

    def add(self, count: int) -> None:
        for _ in range(count):
            command = ["/bin/sh", "-c", f"exit {len(self.pids)}"]
            self.pids.append(os.posix_spawn(command[0], command, os.environ))
            os.waitid(os.P_PID, self.pids[-1], os.WEXITED | os.WNOWAIT)

    def left(self) -> list[int]:
        """The children that have not been reaped."""
        return [pid for pid in self.pids if os.path.exists(f"/proc/{pid}")]

    def next(self) -> int:
        """The kernel's report, as if the process that runs the tests had no other children."""
        return next(iter(self.left()), 0)


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ended]:
    made = Ended()
    made.add(3)
    monkeypatch.setattr(orphans, "_next_ended", made.next)
    yield made
    for pid in made.left():
        os.waitpid(pid, 0)


def test_strangers_are_reaped(ended: Ended) -> None:
    """All ended strangers are reaped in one turn, and the reaper asks for no other until another child ends."""
    reaper = Orphans(set, is_told=True)
    assert reaper.turn(1.0) is None
    assert ended.left() == []
    assert reaper.turn(2.0) is None


@pytest.mark.parametrize("place", [0, 1, 2])
def test_our_own_keep_their_status(ended: Ended, place: int) -> None:
    """The daemon's own child is left to the code that waits for it; strangers behind it are reaped afterwards."""
    own = ended.pids[place]
    reaper = Orphans(lambda: {own}, is_told=True)
    again = reaper.turn(1.0)
    assert again == 1.0 + orphans.AGAIN_SECONDS
    assert own in ended.left()
    assert os.waitstatus_to_exitcode(os.waitpid(own, 0)[1]) == place
    assert reaper.turn(again) is None
    assert ended.left() == []


def test_it_looks_at_most_so_often(ended: Ended) -> None:
    """However many children end, the reaper looks ten times a second; it does not forget a signal in between."""
    reaper = Orphans(set, is_told=True)
    reaper.turn(1.0)
    ended.add(1)
    reaper.child_ended()
    assert reaper.turn(1.01) == 1.0 + orphans.SECONDS
    assert ended.left() == ended.pids[-1:]
    assert reaper.turn(1.0 + orphans.SECONDS) is None
    assert ended.left() == []


LONELY = """
import os, sys
sys.path.insert(0, sys.argv[1])
from upperd.service.orphans import Orphans
reaper = Orphans(set, is_told=True)
print(reaper.turn(1.0))  # no child at all
reading, writing = os.pipe()
lives = os.posix_spawn("/bin/cat", ["cat"], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, reading, 0)])
reaper.child_ended()
print(reaper.turn(2.0), os.waitpid(lives, os.WNOHANG))
os.close(writing)
print(os.waitpid(lives, 0)[1])
"""


def test_living_child_is_left_alone() -> None:
    """A process without children has nothing to reap, and a living child is not waited for."""
    command = [sys.executable, "-IS", "-c", LONELY, str(Path(orphans.__file__).parents[2])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("None\nNone (0, 0)\n0\n", "")


def test_without_being_told(ended: Ended) -> None:
    """Without signals the reaper looks once a second at most, when it is called, and sets no timer for it."""
    reaper = Orphans(set, is_told=False)
    assert reaper.turn(1.0) is None
    assert ended.left() == []
    ended.add(1)
    assert reaper.turn(1.5) is None
    assert ended.left() == ended.pids[-1:]
    assert reaper.turn(2.1) is None
    assert ended.left() == []
