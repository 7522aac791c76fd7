"""Orphans: processes that have become our children without our doing, and that we have to reap (wait(2)).

Process 1 of a container inherits every one that there is in it. And a child of ours may make others that are ours at
once (clone(2), CLONE_PARENT). Our own children are left to the code that started them, which asks for their status.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from os import P_ALL, WEXITED, WNOHANG, WNOWAIT, getpid, waitid, waitpid

SECONDS = 0.1
"""From one look to the next: under load, every child of ours that ends asks for one."""
AGAIN_SECONDS = 0.01
"""Where one of ours, which is about to be reaped, stands before others."""


class Orphans:
    """The orphans that one daemon has inherited."""

    def __init__(self, ours: Callable[[], set[int]], *, is_told: bool) -> None:
        """`ours`: the pids of the children that are reaped elsewhere. `is_told`: whether `child_ended` is called."""
        self._ours = ours
        self._is_told = is_told
        self._is_due = True  # some may have ended before we came
        self._next = 0.0

    def child_ended(self) -> None:
        """A child has ended (SIGCHLD), ours or not: look at the next turn."""
        self._is_due = True

    def turn(self, now: float) -> float | None:
        """Reap the orphans that have ended; return when to be asked again."""
        if self._is_due and now >= self._next:
            self._look(now)
        # Where nobody tells us of them, they are not worth waking for.
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
    """The first child that has ended, which stays as it is; 0: there is none."""
    try:
        found = waitid(P_ALL, 0, WEXITED | WNOHANG | WNOWAIT)
    except OSError:  # there is no child at all, or a sandbox refuses to say
        return 0
    return found.si_pid if found is not None else 0


def of_process_one() -> tuple[signal.Signals, ...]:
    """The signals that process 1 of a container takes besides."""
    return (signal.SIGCHLD,) if getpid() == 1 else ()
