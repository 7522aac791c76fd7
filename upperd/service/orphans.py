"""Children that are not ours: process 1 of a container inherits every orphan in it, and has to reap it (wait(2)).

The law: who is ours is left to who knows them (children.py, reload.py), for their status is asked for there. So nobody
is reaped without a look at who it is. Only where we are process 1; elsewhere this file is not even imported.
"""

from __future__ import annotations

from os import P_ALL, WEXITED, WNOHANG, WNOWAIT, waitid, waitpid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 0.1
"""From one look to the next: under load, every child of ours that ends asks for one."""
AGAIN_SECONDS = 0.01
"""Where one of ours, which is about to be reaped, stands before others."""


class Orphans:
    """The orphans that one daemon has inherited."""

    def __init__(self, ours: Callable[[], set[int]]) -> None:
        """`ours`: the pids of the children that somebody else reaps."""
        self._ours = ours
        self._is_due = True  # they may have ended before we came
        self._next = 0.0

    def child_ended(self) -> None:
        """A child has ended (SIGCHLD), whosever it is: look at the next turn."""
        self._is_due = True

    def turn(self, now: float) -> float | None:
        """Reap who has ended; return when to be asked again."""
        if not self._is_due:
            return None
        if now < self._next:
            return self._next
        self._next = now + SECONDS
        self._is_due = False
        while pid := _next_ended():
            if pid in self._ours():
                self._is_due, self._next = True, now + AGAIN_SECONDS
                return self._next
            waitpid(pid, WNOHANG)
        return None


def _next_ended() -> int:
    """The first child that has ended, which stays as it is; 0: there is none."""
    try:
        found = waitid(P_ALL, 0, WEXITED | WNOHANG | WNOWAIT)
    except ChildProcessError:
        return 0
    return found.si_pid if found is not None else 0
