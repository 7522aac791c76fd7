"""The children of one parent: how many there are, when they are forked, and how they are reaped.

Signals are blocked while a child is forked or reaped: the exception of a program's own handler, which may come between
any two steps, would lose the child's slot.

The law: only children of ours are waited for, each by its pid, and never with a wait that blocks. A child has ended
when its channel has; it can be reaped a moment later.
"""

from __future__ import annotations

import os
import resource  # os.wait4() imports it when first called: by then the table of descriptors may be full
import socket
from functools import partial
from time import monotonic

from upperd.server import registry
from upperd.server.exits import ExitRecord
from upperd.server.hearing import MOST_ANSWERS, hear, kill
from upperd.server.layout import CONNECTIONS
from upperd.server.limits import Throttle
from upperd.server.roster import LEAVE_SECONDS
from upperd.server.signals import Blocked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from upperd.server.handover import Order
    from upperd.server.parent import Parent
    from upperd.server.roster import Child

REAP_SECONDS = 0.002
"""How soon a child is waited for again whose channel is closed, and that has not ended yet."""
GONE_SECONDS = 1.0
"""After how long such a child is killed."""


class Population:
    """Every child, from its fork until it was reaped."""

    def __init__(self, parent: Parent) -> None:
        self._parent = parent
        self._children: dict[Child, None] = {}
        """Every one that was not reaped, the eldest first."""
        self._ending: dict[Child, float] = {}
        """Those whose channel is closed, and since when: to be reaped."""
        self.pools: list[int] = []
        """For each of which there are spare children."""
        self._throttle = Throttle()
        self._fork_failed = False
        self.is_forking = True
        parent.loop.timers.append(self._turn)

    def __len__(self) -> int:
        return len(self._children)

    def __iter__(self) -> Iterator[Child]:
        return iter(list(self._children))

    @property
    def is_paused(self) -> bool:
        """Whether no child is forked for a moment, since that has failed."""
        return self._throttle.until is not None

    @property
    def room(self) -> int:
        return 0 if self.is_paused else self._parent.limits.max_children - len(self)

    # Forking

    def fork(self, pool: int, count: int, first: Order | None = None) -> list[Child]:
        """Fork so many children, or fewer, and then pause. Without a `first` they are spare ones."""
        with registry.lock, Blocked() as signals:
            children, failure = self._parent.forker.fork(pool, count, signals, first)
            self._children.update(dict.fromkeys(children))
            for child in children:
                self._parent.loop.watch(child.control.fileno(), partial(self._heard, child))
            if first is None:
                self._parent.roster.spares(pool).extend(children)
        if children and failure is None and self._fork_failed:
            self._fork_failed = False
            self._throttle.forget()
            self._parent.observer.resumed()
        if failure is not None:
            self._fork_failed = True
            self._parent.board.add("fork_failures")
            self.pause(f"fork: {failure.strerror}")
        return children

    def top_up(self, *, low: int | None = None) -> None:
        """Fork the spare children that are missing, in each pool that has at most `low` of them; None: fewer than all.

        After a fork the parent copies each page that it writes, whether it forked one child or four: so several at one
        time, four when nothing else waits; and what is missing after that when there is a moment (`_turn`).
        """
        share = self.share
        for pool in self.pools if self.is_forking else ():
            spares = self._parent.roster.spares(pool)
            missing = min(share - len(spares), self.room)
            if missing > 0 and (low is None or len(spares) <= low):
                self.fork(pool, missing)

    def is_short(self, low: int) -> bool:
        """Whether a pool has at most `low` spare children, and there may be more."""
        spares = self._parent.roster.spares
        return self.is_forking and self.room > 0 and any(len(spares(pool)) <= low for pool in self.pools)

    @property
    def share(self) -> int:
        """How many spare children each pool is to have."""
        limits = self._parent.limits
        return min(limits.spare_children, max(1, limits.max_children // max(1, len(self.pools))))

    def pause(self, reason: str) -> None:
        now = monotonic()  # later than the turn's: a child that was forked in this one is none that succeeded after it
        pause = self._throttle.failed(now)
        if pause is not None:
            self._parent.loop.call_timers(now + pause)
            self._parent.observer.throttled(reason, pause)

    def _turn(self, now: float) -> float | None:
        """Do what is due: fork again after a pause, make the spare children complete, reap whose channel is closed."""
        if self.is_paused and self._throttle.is_over(now):
            self._parent.loop.wake()
        if self._throttle.is_wary:
            for child in self._children:
                self._learn_from_service(child)
        for child, since in list(self._ending.items()):
            if self.reap(child):
                self._parent.loop.wake()  # there is room for another one now
            elif now - since >= GONE_SECONDS:
                kill(child, "")
        if self.is_short(self.share - 1) and self._parent.has_leisure:
            self.top_up()
        return now + REAP_SECONDS if self._ending else self._throttle.until

    # Ends

    def _heard(self, child: Child) -> None:
        """A child says that it has finished, or has ended."""
        if not hear(self._parent, child):
            self._parent.loop.close_late(child.control)
            self._ending[child] = self._parent.loop.now
            child.is_silent = True
            if child.connection is None:
                self._parent.roster.remove(child)  # or it would be handed one before it can be reaped
            if not self.reap(child):
                self._parent.loop.call_timers(self._parent.loop.now + REAP_SECONDS)

    def let_go(self, child: Child) -> None:
        """Tell a child to leave: at once if it waits, else after its connection."""
        child.is_leaving = True
        if child.connection is None:
            self._parent.roster.remove(child)
            child.kill_at = self._parent.loop.now + LEAVE_SECONDS
            self._parent.loop.call_timers(child.kill_at)
        try:
            child.control.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has ended already

    def dismiss(self, most: int | None = None) -> None:
        """Let the children go that wait, or `most` of them."""
        self._parent.roster.look_at_all()
        for child in self._parent.roster.waiting()[:most]:
            self.let_go(child)

    def follow_limits(self) -> None:
        """The limits have changed: have children leave that are too many, or have served as many as they may."""
        self.dismiss()  # others are forked as they are needed
        most = min((server.connections_per_child for server in self._parent.servers), default=1)
        serving = self._parent.roster.serving()
        for number, child in enumerate(serving):
            is_too_many = number < len(serving) - self._parent.limits.max_children
            if not child.is_leaving and (is_too_many or child.handed >= most):
                self.let_go(child)
        self._parent.loop.wake()

    def reap(self, child: Child) -> bool:
        """Account for a child, if it has ended."""
        with Blocked():
            return self._reap(child)

    def _reap(self, child: Child) -> bool:
        status: int | None = None
        rusage: resource.struct_rusage | None = None
        try:
            pid, status, rusage = os.wait4(child.pid, os.WNOHANG)
        except ChildProcessError:
            pid = child.pid  # something else in the program has reaped it
        if pid == 0:
            return False
        if status is not None and os.WIFSTOPPED(status):  # it has asked to be traced (ptrace(2)), and lives
            kill(child, "unruly")
            return False
        del self._children[child]
        child.is_reaped = True
        if self._ending.pop(child, None) is None:  # we have not heard of it: what it has started keeps its channel open
            for _ in range(MOST_ANSWERS if child.pool else 0):  # the last answers
                if not hear(self._parent, child):
                    break
            self._parent.loop.close_late(child.control)
            self._parent.loop.wake()
        self._parent.dispatcher.ended(child)
        record = ExitRecord(child, status, rusage)
        self._parent.board.release(child.slot)
        record.count(self._parent.board)
        self._learn_from(child, record)
        self._parent.observer.child_ended(record)
        self._parent.loop.stir()
        return True

    def _learn_from(self, child: Child, record: ExitRecord) -> None:
        """Whether forking is of use: a child that ended unasked before it served says no, one that served says yes.

        Not by what stands in its row: a child that has turned hostile must not have us pause.
        """
        if record.was_killed or record.was_overdue or record.was_stopped:
            return
        if (child.ready_by or (child.handed == 0 and not child.is_leaving)) and self.is_forking:
            self.pause(f"child {record.pid}: it ended before its first connection")
        elif not record.is_abnormal:
            self._learn_from_service(child)

    def _learn_from_service(self, child: Child) -> None:
        if child.row[CONNECTIONS] and self._throttle.succeeded(child.started_usec):
            self._parent.observer.resumed()

    def close(self) -> None:
        """Forget the children: each leaves when it is idle."""
        for child in self._children:
            self._parent.loop.close_late(child.control)
        self._children.clear()
        self._ending.clear()
