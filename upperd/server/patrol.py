"""Looks at the children regularly, and ends connections that are over a limit.

It costs nothing for a connection that comes and goes: it looks twice a second, while a child serves. One signal
ends a connection (signals.py); a child that has not ended it GRACE_SECONDS later is killed.

A drain ends quiet connections, at its deadline all of them, and then kills. Times are seconds of `time.monotonic`.
"""

from __future__ import annotations

from upperd.server.hearing import kill, send_signal
from upperd.server.layout import ACTIVE, Outcome, now_usec
from upperd.server.signals import END

TYPE_CHECKING = False
if TYPE_CHECKING:
    from upperd.server.parent import Parent
    from upperd.server.roster import Child

LOOK_SECONDS = 0.5
DRAIN_LOOK_SECONDS = 0.05
"""The same during a drain."""
START_SECONDS = 1.0
"""A child that has not begun to serve its connection by then is stopped (SIGSTOP, a debugger), and is killed."""
GRACE_SECONDS = 5.0
"""Time for a child to answer what it has received, after a limit and before SIGKILL."""
IDLE_SECONDS = 10.0
"""A child that has waited for its user for so long exits, unless fewer than `spare_children` would be left."""
QUIET_SECONDS = 1.0
"""A drain ends a connection that was quiet for so long."""
CUT_SECONDS = 2.0
"""Time for a child to answer what the kernel has received, after the deadline of a drain and before SIGKILL."""
_COUNTED = {Outcome.IDLE: "ended_idle", Outcome.LIFETIME: "ended_lifetime", Outcome.DENIED: "ended_access"}
"""Endings that the header counts."""


class Patrol:
    def __init__(self, parent: Parent) -> None:
        self._parent = parent
        self._next_look = self._last_look = 0.0
        self._is_cut = False
        self.deadline: float | None = None
        """The deadline of the drain under way; None: no drain."""
        parent.loop.timers.append(self.turn)

    def begin_drain(self, deadline: float) -> None:
        """End quiet connections from now on, all others at the deadline, and kill CUT_SECONDS later."""
        self.deadline = deadline
        self._is_cut = False
        self._next_look = 0.0

    def hasten(self, now: float) -> None:
        """A drain under way reaches its deadline now."""
        if self.deadline is not None:
            self.deadline = min(self.deadline, now)
            self._parent.board["drain_end_usec"] = int(self.deadline * 1e6)

    def turn(self, now: float) -> float | None:
        """Look, if it is time; return when to be called again."""
        if now >= self._next_look:
            self._next_look = now + (LOOK_SECONDS if self.deadline is None else DRAIN_LOOK_SECONDS)
            if self._parent.board.repair():
                self._repair_rows()
            self._look(now)
            if self.deadline is not None and now >= self.deadline and not self._is_cut:
                self._cut(now, self.deadline + CUT_SECONDS)
        next_end = self._trim_idle(now)
        if (
            self._parent.roster.busy
            or self.deadline is not None
            or any(child.kill_at or child.ready_by for child in self._parent.population)
        ):
            return self._next_look
        return next_end

    def _look(self, now: float) -> None:
        self._parent.roster.look_at_all()
        self._parent.roster.forget_users()
        were_away = now - self._last_look >= START_SECONDS  # the parent was stopped, and perhaps a child, too
        self._last_look = now
        usec = now_usec()
        for child in self._parent.roster.serving():
            if not child.has_started:
                if were_away or child.ready_by:
                    child.handed_at = now
                elif now - child.handed_at >= START_SECONDS:
                    kill(child, "stopped")
            elif child.end_at:
                send_signal(child, END)  # again: the first may have come before the child could act on it
            elif (ending := self._ending_of(child, usec)) is not None:
                self.end(child, ending, now)
        for child in self._parent.population:
            if child.ready_by and now >= child.ready_by:
                kill(child, "stopped")
            if child.kill_at and now >= child.kill_at:
                kill(child, "killed" if self.deadline is not None else "overdue" if child.end_at else "stopped")
            self._parent.population.reap(child)  # if it left a process behind, its channel is still open

    def _repair_rows(self) -> None:
        for child in self._parent.population:
            child.repair()
        for child in self._parent.roster.serving():  # whether it has finished is no longer known
            self._parent.population.let_go(child)
        self._parent.observer.scoreboard_overwritten()

    def _ending_of(self, child: Child, usec: int) -> Outcome | None:
        active = min(child.row[ACTIVE], usec)  # the child writes it
        if self.deadline is not None:
            if self._is_cut:
                return Outcome.CUT
            if usec - active >= QUIET_SECONDS * 1e6:
                return Outcome.QUIET
        return self._parent.limits.reached(active, child.connected_usec, usec)

    def end(self, child: Child, ending: Outcome, now: float) -> None:
        if not child.end_at:
            child.end_at = now
            child.kill_at = now + GRACE_SECONDS
            child.end_as(ending)
            if ending in _COUNTED:
                self._parent.board.add(_COUNTED[ending])
        if self.deadline is not None and ending is Outcome.CUT:
            child.end_as(ending)
            child.kill_at = self.deadline + CUT_SECONDS
        send_signal(child, END)

    def _cut(self, now: float, kill_at: float) -> None:
        """At the deadline of a drain: end all connections, and set when to kill."""
        self._is_cut = True
        parent, queue = self._parent, self._parent.queue
        if count := len(parent.roster.serving()) + len(queue):
            parent.observer.deadline_passed(count)
        dropped = list(queue)
        for connection in dropped:
            connection.server.shutdown_request(connection.request)
        queue.remove(dropped)
        parent.board.add("cut", len(dropped))
        for child in self._parent.roster.serving():
            child.end_at = 0.0
            if child.has_started:
                self.end(child, Outcome.CUT, now)
        for child in self._parent.population:
            child.kill_at = kill_at

    def _trim_idle(self, now: float) -> float | None:
        """Dismiss children that have waited too long for their users. Returns when the next one is due."""
        waiting = [child for child in self._parent.roster.waiting() if child.user is not None]
        excess = len(waiting) - self._parent.limits.spare_children
        for child in waiting[: max(excess, 0)]:
            if now - child.idle_since < IDLE_SECONDS:
                return child.idle_since + IDLE_SECONDS
            self._parent.population.let_go(child)
        return None
