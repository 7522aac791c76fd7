"""Reaps orphans (wait(2)): children of this process that it did not fork.

Process 1 of a container inherits every orphan in it. And a child may create processes that are our children from the
start (clone(2), CLONE_PARENT). Children that we forked are left to the code that forked them and needs their status.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from os import P_ALL, WEXITED, WNOHANG, WNOWAIT, getpid, waitid, waitpid

SECONDS = 0.1
"""Between two looks: under load, each of our own children that ends asks for a look."""
AGAIN_SECONDS = 0.01
"""Until the next look if the kernel names one of our own children first, which is about to be reaped."""


class Orphans:
    """The orphans of one daemon."""

    def __init__(self, ours: Callable[[], set[int]], *, is_told: bool) -> None:
        """`ours`: the pids of the children that are reaped elsewhere. `is_told`: whether `child_ended` is called."""
        self._ours = ours
        self._is_told = is_told
        self._is_due = True  # orphans may have ended already
        self._next = 0.0

    def child_ended(self) -> None:
        """A child has ended (SIGCHLD), ours or not: look at the next turn."""
        self._is_due = True

    def turn(self, now: float) -> float | None:
        """Reap the orphans that have ended; return when to be called again."""
        if self._is_due and now >= self._next:
            self._look(now)
        # Without SIGCHLD, orphans are not worth waking up for.
        return self._next if self._is_due and self._is_told else None

    def _look(self, now: float) -> None:
        self._next = now + (SECONDS if self._is_told else 10 * SECONDS)
        self._is_due = not self._is_told
        while pid := _next_ended():
            if pid in self._ours():
                self._is_due, self._next = True, now + AGAIN_SECONDS
                return
            waitpid(pid, WNOHANG)


def _next_ended() -> int:
    """The pid of a child that has ended, without reaping it; 0: none has."""
    try:
        found = waitid(P_ALL, 0, WEXITED | WNOHANG | WNOWAIT)
    except OSError:  # there are no children, or a sandbox refuses the call
        return 0
    return found.si_pid if found is not None else 0


def of_process_one() -> tuple[signal.Signals, ...]:
    """The signals that the daemon handles only as process 1 of a container."""
    return (signal.SIGCHLD,) if getpid() == 1 else ()
