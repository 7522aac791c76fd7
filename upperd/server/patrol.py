"""The parent's regular look at its children: which connections have to end, and which children.

The law: nothing here is done for a connection as it comes and goes; the table is looked at twice a second while a child
serves. To end a connection takes one signal (signals.py); a child that has not ended it GRACE_SECONDS later is killed.

A drain ends the connections that are quiet, at its deadline all, and then kills. Times are seconds of `time.monotonic`.
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
"""The same during a drain, which ends soon."""
START_SECONDS = 1.0
"""A child that has not begun to serve what it was handed by then is stopped (SIGSTOP, a debugger), and is killed."""
GRACE_SECONDS = 5.0
"""What a child has for answering what it has taken, after a limit, before SIGKILL."""
IDLE_SECONDS = 10.0
"""A child that has waited for its user for so long leaves, except for as many as there are spare ones."""
QUIET_SECONDS = 1.0
"""A connection on which nothing moved for so long is quiet, and ended by a drain."""
CUT_SECONDS = 2.0
"""What a child has for answering what the kernel had taken, after the deadline of a drain, before SIGKILL."""
_COUNTED = {Outcome.IDLE: "ended_idle", Outcome.LIFETIME: "ended_lifetime", Outcome.DENIED: "ended_access"}
"""The endings that are counted in the header."""


class Patrol:
    def __init__(self, parent: Parent) -> None:
        self._parent = parent
        self._next_look = self._last_look = 0.0
        self._is_cut = False
        self.deadline: float | None = None
        """That of the drain which is under way; None: there is none."""
        parent.loop.timers.append(self.turn)

    def begin_drain(self, deadline: float) -> None:
        """From now on end what is quiet, at the deadline what is left, and CUT_SECONDS later kill."""
        self.deadline = deadline
        self._is_cut = False
        self._next_look = 0.0

    def hasten(self, now: float) -> None:
        """A drain that is under way reaches its deadline."""
        if self.deadline is not None:
            self.deadline = min(self.deadline, now)
            self._parent.board["drain_end_usec"] = int(self.deadline * 1e6)

    def turn(self, now: float) -> float | None:
        """Look, if it is time to; return when to be asked again."""
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
        were_away = now - self._last_look >= START_SECONDS  # stopped ourselves, and a child perhaps, too
        self._last_look = now
        usec = now_usec()
        for child in self._parent.roster.serving():
            if not child.has_started:
                if were_away or child.ready_by:
                    child.handed_at = now
                elif now - child.handed_at >= START_SECONDS:
                    kill(child, "stopped")
            elif child.end_at:
                send_signal(child, END)  # once more: it may have come before the child could act on it
            elif (ending := self._ending_of(child, usec)) is not None:
                self.end(child, ending, now)
        for child in self._parent.population:
            if child.ready_by and now >= child.ready_by:
                kill(child, "stopped")
            if child.kill_at and now >= child.kill_at:
                kill(child, "killed" if self.deadline is not None else "overdue" if child.end_at else "stopped")
            self._parent.population.reap(child)  # one that left a process behind has no end of file to tell of it

    def _repair_rows(self) -> None:
        for child in self._parent.population:
            child.repair()
        for child in self._parent.roster.serving():  # whether it has finished by now is not known any more
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
        """The deadline of the drain is over: end what is left, and say by when."""
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
        """Let children go that have waited for their users for long. Returns when the next one will have."""
        waiting = [child for child in self._parent.roster.waiting() if child.user is not None]
        excess = len(waiting) - self._parent.limits.spare_children
        for child in waiting[: max(excess, 0)]:
            if now - child.idle_since < IDLE_SECONDS:
                return child.idle_since + IDLE_SECONDS
            self._parent.population.let_go(child)
        return None
