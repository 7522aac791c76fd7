"""The promises of the population: who has ended is reaped, and handed nothing more."""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from upperd.server import handover
from upperd.server.parent import Parent
from upperd.server.roster import Child


def test_a_child_whose_channel_has_ended_is_handed_nothing() -> None:
    """A spare child that has closed its channel is no longer one, though it cannot be reaped yet."""
    parent = Parent()
    ours, theirs = handover.channel()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        child = Child(process.pid, *parent.board.claim(), ours, 0)
        parent.board.born(child.slot, child.pid)
        parent.population._children[child] = None
        parent.roster.spares(0).append(child)
        parent.loop.watch(ours.fileno(), partial(parent.population._heard, child))
        theirs.close()
        parent.turn(10)
        assert (parent.roster.spares(0), parent.pids()) == ([], {process.pid})
        process.kill()
        while parent.pids():
            parent.turn(10)
    assert parent.board["ended"] == 1
    parent.close()
