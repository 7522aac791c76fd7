"""The children of one parent: the connection and the user of each, and which ones are idle.

It makes no system call except to close a finished connection. A child marks in its row that it has finished, and the
parent reads that when it needs a child, so that an ordinary connection costs no message back. dispatcher.py decides
which child serves which user.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from time import monotonic

from upperd.server.layout import (
    CONNECTED,
    CONNECTIONS,
    ENDING,
    FINISHED,
    HANDED,
    LISTENER,
    PEER_GID,
    PEER_PID,
    PEER_UID,
    PID,
    ROW_FIELDS,
    STARTED,
    TELL,
    Outcome,
    now_usec,
)
from upperd.server.peer import NOT_KNOWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from upperd.server.connection import Connection

LEAVE_SECONDS = 5.0
"""When a child that was told to exit is killed: it is stopped (SIGSTOP), or its handler's `end_child` hangs."""
LOOKS = 32
"""How many busy children of a user to look at for a new connection, the latest first: they finish first."""


class Child:
    """A child that has not been reaped."""

    __slots__ = (
        "answers", "connected_usec", "connection", "control", "end_at", "ending", "handed", "handed_at", "has_unread",
        "idle_since", "is_leaving", "is_reaped", "is_silent", "kill_at", "killed_for", "listener", "peer", "pid",
        "place", "pool", "ready_by", "row", "slot", "started_usec", "told", "user",
    )  # fmt: skip

    def __init__(
        self, pid: int, slot: int, place: memoryview, row: memoryview, control: socket.socket, pool: int
    ) -> None:
        """`place` and `row`: its words of the scoreboard (layout.py). The child writes the row."""
        self.pid = pid
        """0: not forked yet."""
        self.slot = slot
        self.place = place
        self.row = row
        self.control = control
        self.pool = pool
        """Which servers it serves (hooks.py)."""
        self.user: User | None = None
        """The user to whom it belongs; None: it is spare."""
        self.connection: Connection | None = None
        """The connection that it serves, as far as the parent knows."""
        self.peer = NOT_KNOWN
        """Of its last connection; the uid is that of its user."""
        self.listener = 0
        self.handed = self.told = self.answers = 0
        """How many connections it was handed, how many ends it has reported, and how many answers to its last datagram
        it has sent."""
        self.started_usec = now_usec()
        self.connected_usec = 0
        """When it was handed the last connection; 0: none yet."""
        self.ending = Outcome.NONE
        """Why the parent ends that one."""
        self.handed_at = self.idle_since = 0.0
        self.ready_by = 0.0
        """When it is killed unless `start_child` of its handler has returned; 0: never."""
        self.is_leaving = False
        """Whether it exits when it is idle, and gets no further connection."""
        self.is_silent = False
        """Whether its channel has ended."""
        self.has_unread = False
        """Whether it ended before it read which connection it was handed."""
        self.is_reaped = False
        """Whether its pid may belong to another process."""
        self.end_at = 0.0
        """When it was first told to end its connection; 0: never."""
        self.kill_at = 0.0
        """When it is killed unless it has ended; 0: never."""
        self.killed_for = ""
        """Why the parent killed it: "stopped", "overdue" (at a limit), "killed" (in a drain), "unruly"; or empty."""

    @property
    def has_started(self) -> bool:
        """Whether it has begun to serve its last connection."""
        return bool(self.row[CONNECTIONS] == self.handed)

    @property
    def has_finished(self) -> bool:
        """Whether it has finished its last connection. For a datagram it must report that, after the answer."""
        return self.told == self.handed if self.pool else bool(self.row[FINISHED] == self.handed)

    def hand(self, connection: Connection, uid: int, *, tells: bool) -> None:
        """Note its next connection, of the user `uid`. `tells`: whether it reports when it has finished."""
        self.connection = connection
        self.handed += 1
        self.peer = uid, *connection.peer[1:]
        self.listener = connection.server.listener
        self.connected_usec = now_usec()
        self.ending = Outcome.NONE
        self.end_at = self.kill_at = 0.0
        self.row[TELL] = tells or self.pool > 0
        self.answers = 0
        self.show()

    def end_as(self, ending: Outcome) -> None:
        """Note why its connection is ended."""
        self.ending = ending
        self.place[ENDING] = ending

    def show(self) -> None:
        """Write its place in the scoreboard."""
        place = self.place
        place[PEER_UID], place[PEER_GID], place[PEER_PID] = self.peer
        place[LISTENER], place[CONNECTED], place[ENDING] = self.listener, self.connected_usec, self.ending
        place[HANDED] = self.handed  # last: from now on readers see it as busy

    def repair(self) -> None:
        """Restore its words in the scoreboard. The child writes its counts with its next connection."""
        row, handed = self.row, self.handed
        row[: len(ROW_FIELDS)] = memoryview(bytes(8 * len(ROW_FIELDS))).cast("Q")
        row[CONNECTIONS] = handed
        row[FINISHED] = handed if self.connection is None else handed - 1
        row[TELL] = 1
        self.place[PID], self.place[STARTED] = self.pid, self.started_usec
        self.show()


class User:
    """One uid: its children, and its waiting connections."""

    __slots__ = ("busy", "idle", "leaving", "uid", "waiting")

    def __init__(self, uid: int) -> None:
        self.uid = uid
        self.idle: list[Child] = []
        """Its idle children, the one that finished last at the end."""
        self.busy: dict[Child, None] = {}
        """Its busy children, in the order of their connections."""
        self.leaving: dict[Child, None] = {}
        """Its children that have finished their last connection and are not reaped."""
        self.waiting: deque[Connection] = deque()

    @property
    def count(self) -> int:
        """How many of its children are busy or exiting."""
        return len(self.busy) + len(self.leaving)


class Roster:
    def __init__(self) -> None:
        self._users: dict[int, User] = {}
        self._spares: dict[int, list[Child]] = {}
        self._idle: dict[Child, None] = {}
        """The idle children that belong to a user, the one idle longest first."""
        self._finished: Connection | None = None
        self.busy = 0
        """How many children serve, as far as the parent knows."""

    def user(self, uid: int) -> User:
        """The record of a user, made if there is none."""
        user = self._users.get(uid)
        if user is None:
            user = self._users[uid] = User(uid)
        return user

    def forget_users(self) -> None:
        """Drop the records of users without children and connections."""
        for user in list(self._users.values()):
            if not (user.idle or user.busy or user.leaving or user.waiting):
                del self._users[user.uid]

    # Children that wait

    def spares(self, pool: int) -> list[Child]:
        """The children of a pool that belong to no user yet."""
        return self._spares.setdefault(pool, [])

    def take_idle(self, user: User, pool: int) -> Child | None:
        """Remove and return the idle child of this user that finished last."""
        for child in reversed(user.idle):
            if child.pool == pool:
                user.idle.remove(child)
                del self._idle[child]
                return child
        return None

    def take_finished(self, user: User, pool: int) -> Child | None:
        """The same for children that have finished without a report. Then call `close_finished`."""
        for child in islice(reversed(user.busy), LOOKS):
            if child.has_finished and child.pool == pool and not (child.is_leaving or child.is_silent):
                self._finished = child.connection
                self._stop(child, user)
                return child
        return None

    def close_finished(self) -> None:
        """Close the finished connection of that child, after the more urgent hand-over of the next."""
        finished, self._finished = self._finished, None
        if finished is not None:
            finished.close()

    def take_longest_idle(self, user: User, pool: int) -> Child | None:
        """Remove and return a child that may exit to make room: idle for another user or pool, or spare."""
        for child in self._idle:
            if child.user is not user or child.pool != pool:
                self.remove(child)
                return child
        return next((spares.pop() for spares in self._spares.values() if spares), None)

    def waiting(self) -> list[Child]:
        """Every idle child: the spare ones, then the others, the one idle longest first."""
        return [*(child for spares in self._spares.values() for child in spares), *self._idle]

    @property
    def has_waiting(self) -> bool:
        return bool(self._idle) or any(self._spares.values())

    # Children that serve

    def serving(self) -> list[Child]:
        """Every child that serves, as far as the parent knows."""
        # Copies, which the interpreter makes in one step: another thread, which forks, asks as well.
        return [child for user in list(self._users.values()) for child in list(user.busy)]

    def begin(self, child: Child, user: User, connection: Connection, now: float, *, tells: bool) -> None:
        """Note that a child, which is not idle any more, gets a connection of this user."""
        child.user = user
        child.hand(connection, user.uid, tells=tells)
        child.handed_at = now
        user.busy[child] = None
        self.busy += 1

    def settle(self, child: Child) -> None:
        """If the child has finished its connection, note that it is idle, or exits."""
        user = child.user
        if user is None or child.connection is None or not child.has_finished:
            return
        child.connection.close()  # first: registry.py must know its descriptor until it is closed
        self._stop(child, user)
        if child.is_leaving or child.is_silent:
            user.leaving[child] = None
            child.kill_at = monotonic() + LEAVE_SECONDS
        else:
            child.idle_since = monotonic()
            child.end_at = child.kill_at = 0.0  # it has ended the connection in time
            user.idle.append(child)
            self._idle[child] = None

    def look_at(self, user: User) -> None:
        """Settle this user's children that have finished without a report."""
        for child in [child for child in user.busy if child.has_finished]:
            self.settle(child)

    def look_at_all(self) -> None:
        for user in self._users.values():
            self.look_at(user)

    def remove(self, child: Child) -> Connection | None:
        """Forget a child that has ended or was told to exit. Returns its unfinished connection."""
        user = child.user
        if user is None:
            if child in self.spares(child.pool):
                self.spares(child.pool).remove(child)
            return None
        if (connection := child.connection) is not None:
            self._stop(child, user)
        elif child in user.leaving:
            del user.leaving[child]
        elif child in self._idle:
            user.idle.remove(child)
            del self._idle[child]
        child.user = None
        return connection

    def _stop(self, child: Child, user: User) -> None:
        child.connection = None
        del user.busy[child]
        self.busy -= 1
