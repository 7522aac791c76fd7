"""The children of one parent: how many there are, when they are forked, and how they are reaped.

Signals are blocked while a child is forked or reaped, because an exception from a signal handler of the program could
lose the child's slot.

The parent waits only for its own children, each by its pid, and never blocks in a wait. A child has ended when its
channel has; it can be reaped a moment later.
"""

from __future__ import annotations

import os
import resource  # os.wait4() imports it when first called, when descriptors may be short
import socket
from functools import partial
from time import monotonic

from upperd.server import registry
from upperd.server.exits import COUNTED_REASONS, ExitRecord
from upperd.server.hearing import MOST_ANSWERS, hear, kill, send_signal
from upperd.server.layout import CONNECTIONS
from upperd.server.limits import Throttle
from upperd.server.roster import LEAVE_SECONDS
from upperd.server.signals import END, Blocked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from upperd.server.handover import Order
    from upperd.server.parent import Parent
    from upperd.server.roster import Child

REAP_SECONDS = 0.002
"""How soon to wait again for a child whose channel is closed."""
GONE_SECONDS = 1.0
"""When such a child is killed."""


class Population:
    """Every child, from its fork until it is reaped."""

    def __init__(self, parent: Parent) -> None:
        self._parent = parent
        self._children: dict[Child, None] = {}
        """Every child that is not reaped, the oldest first."""
        self._ending: dict[Child, float] = {}
        """Children whose channel is closed, and since when."""
        self.pools: list[int] = []
        """Each has spare children."""
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
        """Whether forking pauses after a failure."""
        return self._throttle.until is not None

    @property
    def room(self) -> int:
        return 0 if self.is_paused else self._parent.limits.max_children - len(self)

    # Forking

    def fork(self, pool: int, count: int, first: Order | None = None) -> list[Child]:
        """Fork `count` children, or fewer and then pause. Without `first` they are spare ones."""
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
        """Fork the missing spare children in each pool that has at most `low` of them (None: in each pool).

        After a fork the parent copies each page that it writes, after one fork as after several: so it forks several at
        a time.
        """
        share = self.share
        for pool in self.pools if self.is_forking else ():
            spares = self._parent.roster.spares(pool)
            missing = min(share - len(spares), self.room)
            if missing > 0 and (low is None or len(spares) <= low):
                self.fork(pool, missing)

    def is_short(self, low: int) -> bool:
        """Whether a pool has at most `low` spare children, and the limits allow more."""
        spares = self._parent.roster.spares
        return self.is_forking and self.room > 0 and any(len(spares(pool)) <= low for pool in self.pools)

    @property
    def share(self) -> int:
        """How many spare children each pool should have."""
        limits = self._parent.limits
        return min(limits.spare_children, max(1, limits.max_children // max(1, len(self.pools))))

    def pause(self, reason: str) -> None:
        now = monotonic()  # not the time of the turn: a child forked earlier in this turn proves nothing
        pause = self._throttle.failed(now)
        if pause is not None:
            self._parent.loop.call_timers(now + pause)
            self._parent.observer.throttled(reason, pause)

    def _turn(self, now: float) -> float | None:
        """Do what is due: fork again after a pause, fork missing spare children, reap children that have ended."""
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
        """A child has sent a message, or has ended."""
        if not hear(self._parent, child):
            self._parent.loop.close_late(child.control)
            self._ending[child] = self._parent.loop.now
            child.is_silent = True
            if child.connection is None:
                self._parent.roster.remove(child)  # else it could be handed a connection before it is reaped
            if not self.reap(child):
                self._parent.loop.call_timers(self._parent.loop.now + REAP_SECONDS)

    def let_go(self, child: Child) -> None:
        """Tell a child to exit: at once if it is idle, else after its connection."""
        child.is_leaving = True
        if child.connection is None:
            self._parent.roster.remove(child)
            child.kill_at = self._parent.loop.now + LEAVE_SECONDS
            self._parent.loop.call_timers(child.kill_at)
        try:
            child.control.shutdown(socket.SHUT_WR)
        except OSError:  # it has ended already, or a sandbox refuses it
            if child.connection is None:
                send_signal(child, END)

    def dismiss(self, most: int | None = None) -> None:
        """Tell idle children to exit; `most` of them at most."""
        self._parent.roster.look_at_all()
        for child in self._parent.roster.waiting()[:most]:
            self.let_go(child)

    def follow_limits(self) -> None:
        """After a change of the limits: end children that are too many or have served enough connections."""
        self.dismiss()  # new ones are forked when they are needed
        most = min((server.connections_per_child for server in self._parent.servers), default=1)
        serving = self._parent.roster.serving()
        for number, child in enumerate(serving):
            is_too_many = number < len(serving) - self._parent.limits.max_children
            if not child.is_leaving and (is_too_many or child.handed >= most):
                self.let_go(child)
        self._parent.loop.wake()

    def reap(self, child: Child) -> bool:
        """Reap a child, if it has ended, and account for it."""
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
        if status is not None and os.WIFSTOPPED(status):  # it asked to be traced (ptrace(2)) and still lives
            kill(child, "unruly")
            return False
        del self._children[child]
        child.is_reaped = True
        if self._ending.pop(child, None) is None:  # a process that it left behind keeps its channel open
            for _ in range(MOST_ANSWERS if child.pool else 1):  # the last answers, or that it has not read ours
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
        """Pause forking after a child that ended, unasked, before it served; resume after one that served.

        Its row does not count: a hostile child, which has read an order, must not make the parent pause.
        """
        if record.killed_for in COUNTED_REASONS:
            return
        was_spare = child.ready_by or (child.handed == 0 and not child.is_leaving)
        if (was_spare and self.is_forking) or (child.has_unread and child.handed == 1):
            self.pause(f"child {record.pid}: it ended before its first connection")
        elif not record.is_abnormal:
            self._learn_from_service(child)

    def _learn_from_service(self, child: Child) -> None:
        if child.row[CONNECTIONS] and self._throttle.succeeded(child.started_usec):
            self._parent.observer.resumed()

    def close(self) -> None:
        """Forget the children; each exits when it is idle."""
        for child in self._children:
            self._parent.loop.close_late(child.control)
        self._children.clear()
        self._ending.clear()
