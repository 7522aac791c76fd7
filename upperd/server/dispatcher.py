"""Chooses the child that serves a connection.

1. an idle child of the user,
2. a spare child, which belongs to the user from then on,
3. a new child, if the limits allow one;
4. else the connection waits its turn. If only other users' children are idle, those idle longest are ended to make
   room: at once if the user has no child, else if none of its own becomes free soon.

A child never serves two users, and a connection never has two children.

While a connection waits, each busy child reports when it has finished (TELL in its row). A child writes "finished",
makes system calls, and then reads TELL. The parent writes TELL, makes a system call, and then reads "finished" again.
One of them sees the other's write, because these calls take locks.

A connection moves between queue and child under `registry.lock`: a child that another thread forks closes those that a
queue or a child has.
"""

from __future__ import annotations

from errno import ECONNRESET, EMSGSIZE, EPIPE

from upperd.server import handover, registry
from upperd.server.handover import Order
from upperd.server.layout import TELL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from upperd.server.connection import Connection
    from upperd.server.limits import Limits
    from upperd.server.parent import Parent
    from upperd.server.roster import Child, User
    from upperd.server.scoreboard import Scoreboard

_CHILD_ENDED = (EPIPE, ECONNRESET)
"""Errors of a hand-over that are the child's; the others are the host's, or a sandbox's."""
MOST_TRIES = 3
"""How many children may receive a connection, if each one ends before it begins to serve it."""
SHARE = 4
"""A user may fill 1/SHARE of the queue."""
PATIENCE_SECONDS = 0.02
"""How long a connection waits for a child of its own user before another user loses an idle child: about ten times what
a fork takes."""


class WaitingQueue:
    """The connections that wait for a child: a queue for each user, served in turn.

    If hundreds of one user's connections wait, another user's connection is still the next one served.
    """

    def __init__(self, board: Scoreboard, limits: Limits) -> None:
        self._board = board
        self._limits = limits
        self._turns: dict[User, None] = {}
        """Users with waiting connections, the next one first."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Connection]:
        return (connection for user in self.users() for connection in list(user.waiting))

    @property
    def is_full(self) -> bool:
        return self._count >= self._limits.queue_room

    @property
    def waiting_users(self) -> int:
        return len(self._turns)

    def has_room(self, user: User) -> bool:
        room = self._limits.queue_room
        return self._count < room and len(user.waiting) < max(1, room // SHARE)

    def add(self, user: User, connection: Connection, *, first: bool = False) -> None:
        """Append a connection. `first`: put it before the others of its user, because it has had its turn."""
        if first:
            user.waiting.appendleft(connection)
        else:
            user.waiting.append(connection)
            self._board.add("waited")
        self._turns.setdefault(user)
        self._changed(1)

    def take(self, user: User) -> Connection:
        """Remove and return the next connection of this user, and end the user's turn."""
        connection = user.waiting.popleft()
        del self._turns[user]
        if user.waiting:
            self._turns[user] = None
        self._changed(-1)
        return connection

    def users(self) -> list[User]:
        """Users with waiting connections, in the order of their turns."""
        return list(self._turns)

    def remove(self, connections: list[Connection]) -> None:
        gone = set(connections)
        for user in self.users():
            left = [connection for connection in user.waiting if connection not in gone]
            before = len(user.waiting)
            user.waiting.clear()
            user.waiting.extend(left)
            if not left:
                del self._turns[user]
            self._changed(len(left) - before)

    def _changed(self, by: int) -> None:
        self._count += by
        self._board["queued"] = self._count
        self._board["queued_users"] = len(self._turns)


class Dispatcher:
    def __init__(self, parent: Parent) -> None:
        self._parent = parent
        self._looks_again = False
        self._making_room: set[Child] = set()
        """Children that were told to exit to make room for another user."""

    def serve(self, connection: Connection) -> bool:
        """Have a connection served, now or in its turn. False: its user's queue is full."""
        user = self._parent.roster.user(connection.user)
        if not user.waiting and (child := self._find(user, connection)) is not None:
            self._begin(child, user, connection)
            self._hand_over(child, user, connection)
            self._parent.roster.close_finished()
            return True
        if not self._parent.queue.has_room(user):
            return False
        self._wait(user, connection)
        return True

    def _find(self, user: User, connection: Connection) -> Child | None:
        """A child that can serve this connection now, forked if need be; None: the connection has to wait."""
        roster, pool, most = self._parent.roster, connection.server.pool, self._parent.limits.max_children_per_user
        if user.count >= most:
            roster.look_at(user)
            if user.count >= most:
                return None
        if connection.is_reusable:
            child = roster.take_idle(user, pool) or roster.take_finished(user, pool)
            if child is not None:
                return child
        if not connection.needs_fork and (spares := roster.spares(pool)):
            return spares.pop()
        if user.busy and connection.is_reusable:
            roster.look_at(user)  # cheaper than a fork
            if (child := roster.take_idle(user, pool)) is not None:
                return child
        if self._parent.population.room > 0 and self._parent.population.room >= len(self._making_room):
            return self._fork(connection)
        self._make_room(user, connection)
        return None

    def _fork(self, connection: Connection) -> Child | None:
        """Fork a child for this connection, and a spare one for each other user that waits."""
        pool, population = connection.server.pool, self._parent.population
        if connection.needs_fork:
            # The child inherits what cannot be sent to it, as under the stock class.
            server, user, peer = connection.server, connection.user, connection.peer
            order = Order(server.listener, connection.address, user, peer, is_last=True, connection=connection.request)
            return next(iter(population.fork(pool, 1, order)), None)
        spares = self._parent.roster.spares(pool)
        population.fork(pool, min(population.room, max(1, self._parent.queue.waiting_users)))
        return spares.pop() if spares else None

    def _make_room(self, user: User, connection: Connection) -> None:
        """End idle children that cannot serve this connection.

        Several at a time, so that their successors can be forked together (Population.top_up), unless forking fails.
        """
        if user.busy and connection.is_reusable:
            patient_until = connection.waits_since + PATIENCE_SECONDS
            if self._parent.loop.now < patient_until:
                self._parent.loop.call_timers(patient_until)
                return
        population, queue = self._parent.population, self._parent.queue
        several = 1 if population.is_paused else max(1, min(population.share, self._parent.limits.max_children // 8))
        coming = population.room + len(self._making_room)
        for _ in range(max(queue.waiting_users, 0 if coming else several) - coming):
            child = self._parent.roster.take_longest_idle(user, connection.server.pool)
            if child is None:
                break
            self._making_room.add(child)
            population.let_go(child)

    # Handing over

    def _begin(self, child: Child, user: User, connection: Connection) -> None:
        """Give the connection to a child of its user, or to a spare child, which then belongs to the user."""
        self._parent.roster.begin(child, user, connection, self._parent.loop.now, tells=bool(self._parent.queue))
        child.is_leaving = not connection.is_reusable or child.handed >= connection.server.connections_per_child

    def _hand_over(self, child: Child, user: User, connection: Connection) -> None:
        """Send the connection to its child."""
        if connection.needs_fork:
            return  # the child has it already
        server = connection.server
        try:
            order = Order(
                server.listener,
                connection.address,
                user.uid,
                connection.peer,
                child.is_leaving,
                self._parent.limits.max_bytes,
                server.as_message(connection.request),
            )
            handover.send(child.control, order, server.descriptor_of(connection.request))
        except (OSError, ValueError) as error:
            is_too_long = isinstance(error, ValueError) or error.errno == EMSGSIZE
            with registry.lock:
                self._parent.roster.remove(child)
                if is_too_long:
                    connection.needs_fork, connection.is_reusable = True, False
                    self._wait(user, connection, first=True)
                else:
                    self._wait_again(connection)
            self._parent.population.let_go(child)
            if isinstance(error, OSError) and error.errno not in (EMSGSIZE, *_CHILD_ENDED):
                self._parent.population.pause(f"cannot hand over a connection: {error.strerror}")

    # When a child has ended

    def ended(self, child: Child) -> None:
        """The child was reaped. A connection that it had not begun to serve goes to another child."""
        self._making_room.discard(child)
        has_started = child.has_started
        if has_started and child.connection is not None:
            child.connection.close()  # while registry.py still knows its descriptor
        with registry.lock:
            connection = self._parent.roster.remove(child)
            if connection is None or has_started:
                return
            if not (child.has_unread or child.ready_by):
                connection.tries += 1  # it may be the connection's fault
            if connection.tries < MOST_TRIES:
                self._wait_again(connection)
                return
        self._parent.board.add("lost")
        self._parent.observer.given_up(connection.user)
        connection.server.shutdown_request(connection.request)

    def _wait_again(self, connection: Connection) -> None:
        """Queue a connection for another child, before the others of its user."""
        self._parent.board.add("handed_again")
        self._wait(self._parent.roster.user(connection.user), connection, first=True)

    # The queue

    def _wait(self, user: User, connection: Connection, *, first: bool = False) -> None:
        """Queue a connection, and have every busy child report from now on when it has finished."""
        was_empty = not self._parent.queue
        connection.waits_since = min(connection.waits_since, self._parent.loop.now)
        self._parent.queue.add(user, connection, first=first)
        if was_empty:
            for child in self._parent.roster.serving():
                child.row[TELL] = 1
            self._looks_again = True
            self._parent.loop.wake()  # a system call, and then a turn that looks once more

    def serve_queue(self) -> None:
        """Hand over the waiting connections that can be served, in the order of the users' turns."""
        if self._looks_again:
            self._looks_again = False
            self._parent.roster.look_at_all()
        is_progress = True
        while is_progress and self._parent.queue:
            is_progress = False
            for user in self._parent.queue.users():
                if not (self._parent.roster.has_waiting or self._parent.population.room > 0):
                    return
                child = self._find(user, user.waiting[0])
                if child is not None:
                    with registry.lock:
                        connection = self._parent.queue.take(user)
                        self._begin(child, user, connection)
                    self._hand_over(child, user, connection)
                    self._parent.roster.close_finished()
                    is_progress = True
