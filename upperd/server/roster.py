"""The children of one parent, as it knows them: what each was handed, whose it is, and which ones wait.

The law: mechanism only, and no system call but the close of a connection that is over. A child says in its row that it
has finished, and is found there when one is needed, so an ordinary connection costs no message back. Who is served by
which child is decided in dispatcher.py.
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
"""After how long a child that leaves is killed: it is stopped (SIGSTOP), or its handler's `end_child` hangs."""
LOOKS = 32
"""At busy children of a user when a connection comes, the last ones first: those that finish soon began lately."""


class Child:
    """A child that lives, or has not been reaped."""

    __slots__ = (
        "answers", "connected_usec", "connection", "control", "end_at", "ending", "handed", "handed_at", "idle_since",
        "is_leaving", "is_reaped", "is_silent", "kill_at", "killed_for", "listener", "peer", "pid", "place", "pool",
        "ready_by", "row", "slot", "started_usec", "told", "user",
    )  # fmt: skip

    def __init__(
        self, pid: int, slot: int, place: memoryview, row: memoryview, control: socket.socket, pool: int
    ) -> None:
        """`place` and `row`: its words of the scoreboard (layout.py). The row is the child's to write."""
        self.pid = pid
        """0: it is not forked yet."""
        self.slot = slot
        self.place = place
        self.row = row
        self.control = control
        self.pool = pool
        """Which servers it serves (see PreforkingMixIn.pool)."""
        self.user: User | None = None
        """To whom it belongs; None: it is spare."""
        self.connection: Connection | None = None
        """What it was handed, and has not finished as far as we know."""
        self.peer = NOT_KNOWN
        """Of the last connection that it was handed; in the place of the uid that of its user."""
        self.listener = 0
        self.handed = self.told = self.answers = 0
        """How many connections it was handed, how often it has told that it has finished one, and how many answers to
        its last datagram it has had us send."""
        self.started_usec = now_usec()
        self.connected_usec = 0
        """When it was handed the last one; 0: none yet."""
        self.ending = Outcome.NONE
        """Why we end that one."""
        self.handed_at = self.idle_since = 0.0
        self.ready_by = 0.0
        """When it is killed unless its handler's `start_child` has returned; 0: it has, or there is none."""
        self.is_leaving = False
        """Whether it ends by itself when it is idle, and is handed nothing more."""
        self.is_silent = False
        """Whether its channel has ended: nothing more can be handed to it."""
        self.is_reaped = False
        """Whether its pid may be another process's by now."""
        self.end_at = 0.0
        """When it was first told to end its connection; 0: it was not."""
        self.kill_at = 0.0
        """When it is killed unless it has ended; 0: never."""
        self.killed_for = ""
        """Why it was killed: "stopped", "overdue" or "killed"; empty: it was not, or not by us."""

    @property
    def has_started(self) -> bool:
        """Whether it has begun to serve what it was handed last."""
        return bool(self.row[CONNECTIONS] == self.handed)

    @property
    def has_finished(self) -> bool:
        """Whether it has finished what it was handed last. Of a datagram, whose answer comes before, it has to tell."""
        return self.told == self.handed if self.pool else bool(self.row[FINISHED] == self.handed)

    def hand(self, connection: Connection, uid: int, *, tells: bool) -> None:
        """It is to serve this connection, of the user `uid`. `tells`: whether it is to say when it has finished."""
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
        """Its connection is ended for this reason."""
        self.ending = ending
        self.place[ENDING] = ending

    def show(self) -> None:
        """Write what we know of it into its place of the scoreboard."""
        place = self.place
        place[PEER_UID], place[PEER_GID], place[PEER_PID] = self.peer
        place[LISTENER], place[CONNECTED], place[ENDING] = self.listener, self.connected_usec, self.ending
        place[HANDED] = self.handed  # last: from now on it does not wait

    def repair(self) -> None:
        """The scoreboard was written over: write what we go by. What the child counts, it writes with the next one."""
        row, handed = self.row, self.handed
        row[: len(ROW_FIELDS)] = memoryview(bytes(8 * len(ROW_FIELDS))).cast("Q")
        row[CONNECTIONS] = handed
        row[FINISHED] = handed if self.connection is None else handed - 1
        row[TELL] = 1
        self.place[PID], self.place[STARTED] = self.pid, self.started_usec
        self.show()


class User:
    """One uid: the children that belong to it, and its connections that wait."""

    __slots__ = ("busy", "idle", "leaving", "uid", "waiting")

    def __init__(self, uid: int) -> None:
        self.uid = uid
        self.idle: list[Child] = []
        """Its children that wait, the one that finished last at the end."""
        self.busy: dict[Child, None] = {}
        """Its children that serve, in the order in which they were handed a connection."""
        self.leaving: dict[Child, None] = {}
        """Its children that say that they have finished their last one, and have not been reaped."""
        self.waiting: deque[Connection] = deque()

    @property
    def count(self) -> int:
        """How many of its children may serve."""
        return len(self.busy) + len(self.leaving)


class Roster:
    def __init__(self) -> None:
        self._users: dict[int, User] = {}
        self._spares: dict[int, list[Child]] = {}
        self._idle: dict[Child, None] = {}
        """The children that belong to a user and wait, the one that has been idle longest first."""
        self._finished: Connection | None = None
        self.busy = 0
        """How many children serve, as far as we know."""

    def user(self, uid: int) -> User:
        """The record of a user, made where there is none."""
        user = self._users.get(uid)
        if user is None:
            user = self._users[uid] = User(uid)
        return user

    def forget_users(self) -> None:
        """Drop the records of users of whom there is nothing left."""
        for user in list(self._users.values()):
            if not (user.idle or user.busy or user.leaving or user.waiting):
                del self._users[user.uid]

    # Children that wait

    def spares(self, pool: int) -> list[Child]:
        """The children of a pool that belong to no user yet."""
        return self._spares.setdefault(pool, [])

    def take_idle(self, user: User, pool: int) -> Child | None:
        """A child of this user that waits, the one that finished last, and waits no more."""
        for child in reversed(user.idle):
            if child.pool == pool:
                user.idle.remove(child)
                del self._idle[child]
                return child
        return None

    def take_finished(self, user: User, pool: int) -> Child | None:
        """The same, of those that have finished and not told. What it has finished is left to `close_finished`."""
        for child in islice(reversed(user.busy), LOOKS):
            if child.has_finished and child.pool == pool and not (child.is_leaving or child.is_silent):
                self._finished = child.connection
                self._stop(child, user)
                return child
        return None

    def close_finished(self) -> None:
        """Close what the child of `take_finished` had finished: once it has its next connection, which is urgent."""
        finished, self._finished = self._finished, None
        if finished is not None:
            finished.close()

    def take_longest_idle(self, user: User, pool: int) -> Child | None:
        """A child whose place a connection of this user may have: it waits for another user, or pool, or is spare."""
        for child in self._idle:
            if child.user is not user or child.pool != pool:
                self.remove(child)
                return child
        return next((spares.pop() for spares in self._spares.values() if spares), None)

    def waiting(self) -> list[Child]:
        """Every child that waits: the spare ones, then the others, the one that has been idle longest first."""
        return [*(child for spares in self._spares.values() for child in spares), *self._idle]

    @property
    def has_waiting(self) -> bool:
        return bool(self._idle) or any(self._spares.values())

    # Children that serve

    def serving(self) -> list[Child]:
        """Every child that serves, as far as we know."""
        return [child for user in self._users.values() for child in user.busy]

    def begin(self, child: Child, user: User, connection: Connection, now: float, *, tells: bool) -> None:
        """The child, which waits no more, is handed a connection of this user."""
        child.user = user
        child.hand(connection, user.uid, tells=tells)
        child.handed_at = now
        user.busy[child] = None
        self.busy += 1

    def settle(self, child: Child) -> None:
        """If the child has finished its connection, it waits for the next one of its user, unless it leaves."""
        user = child.user
        if user is None or child.connection is None or not child.has_finished:
            return
        child.connection.close()  # first: until then it is known for what no other child may keep
        self._stop(child, user)
        if child.is_leaving:
            user.leaving[child] = None
            child.kill_at = monotonic() + LEAVE_SECONDS
        else:
            child.idle_since = monotonic()
            child.end_at = child.kill_at = 0.0  # it has ended the connection in time
            user.idle.append(child)
            self._idle[child] = None

    def look_at(self, user: User) -> None:
        """Take note of this user's children that have finished without telling."""
        for child in [child for child in user.busy if child.has_finished]:
            self.settle(child)

    def look_at_all(self) -> None:
        for user in self._users.values():
            self.look_at(user)

    def remove(self, child: Child) -> Connection | None:
        """The child has ended, or is told to: it is nowhere any more. Returns what it was handed and did not finish."""
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
