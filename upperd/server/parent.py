"""The parent of preforked children: it forks them ahead of their connections, reaps, tops up, and drains.

The law of this file: the parent never accepts, never reads from a client, and never blocks but in one epoll_wait().
It is one thread.

It knows servers only as things that have a listening socket; what is done with a connection is child.py's.
"""

from __future__ import annotations

import select
import socket
from time import monotonic

from upperd.server.child import EX_OSERR
from upperd.server.children import Children, Living, send
from upperd.server.drain import FIRST_REPEAT, Drain, Repeat
from upperd.server.ending import close_account
from upperd.server.forker import Forker
from upperd.server.inheritance import Inheritance
from upperd.server.layout import AT_REST, BUSY, CONNECTIONS, STARTED
from upperd.server.link import Link
from upperd.server.lookout import Lookout
from upperd.server.observer import Observer
from upperd.server.passing import Passing
from upperd.server.scoreboard import Scoreboard
from upperd.server.signals import DRAIN, RETIRE
from upperd.server.throttle import Throttle
from upperd.server.turns import Turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from upperd.server.child import Server
    from upperd.server.observer import End

_BACKLOG_LOOK = 0.05
"""Seconds between looks at a backlog that is being served: a child that takes from it need not wake us."""
EVENTS_A_TURN = 64
"""Events taken at once. The default of epoll.poll allocates room for 1,023: pages that the next fork copies."""


class Parent:
    """The children of one server or several, and the loop that keeps them."""

    def __init__(
        self,
        board: Scoreboard | None = None,
        *,
        max_children: int,
        spare_children: int,
        observer: Observer | None = None,
        set_title: Callable[[str], object] | None = None,
    ) -> None:
        self._link = Link()
        self.board = board or Scoreboard(slots=max_children)
        self.max_children = max_children
        self.spare_children = spare_children
        self.observer = observer or Observer()
        self.timers: list[Callable[[float], float | None]] = []
        """Called at every turn with the time; each returns when the next turn is wanted at the latest."""
        self.accounts: list[Callable[[End, float], object]] = []  # called with every child that has ended, and the time
        self.servers: list[Server] = []
        self._share = self._low_water = 0
        self._held: dict[int, int] = {}
        self._throttle = Throttle()
        self._drain: Drain | None = None
        self._retirement: Repeat | None = None
        self._stop = False
        self._poke_below = -1
        self._is_calm = False
        """Whether nothing happened in the last turn that waited."""
        self._happened = True
        """Whether anything happened in the last turn."""
        self._epoll = select.epoll()
        self.children = Children(self._epoll)
        self.inheritance = Inheritance(self._link, self._epoll, self.children, self.servers)
        self.forker = Forker(self.board, self._link, self.inheritance, self.children, self.servers, set_title)
        self._passing = Passing(self._link, self._epoll)
        self._turns = Turns(self.board)
        self._lookout = Lookout(self._epoll, self.children, self.board)
        self._watched: dict[int, Callable[[], object]] = {self._link.passing_descriptor(): self._passing.take}
        self.watch(self._link.poke_descriptor, self._link.poked)

    # For the owner

    def add(self, server: Server) -> None:
        """Serve this server's listener, too. Its number is `server.listener` from now on."""
        server.listener = len(self.servers)
        self.servers.append(server)
        self._held[server.listener] = 0
        self._lookout.add(server.socket.fileno())
        self.limit(self.max_children, self.spare_children)

    def limit(self, max_children: int, spare_children: int) -> None:
        """Have at most so many children from now on. Those that are too many already end with their connections."""
        self.max_children, self.spare_children = max_children, spare_children
        self.board.extend(max_children)
        # Spare children for each listener, where `max_children` leaves room for them.
        self._share = max(1, min(spare_children, max_children // len(self.servers)))
        # So few waiting are topped up while connections come in. Measured: what the parent writes after a fork costs
        # a page fault for each page, whether it forked one child or four; and four are forked before the next comes.
        self._low_water = self._share // 8

    def watch(self, descriptor: int, callback: Callable[[], object]) -> None:
        """Call `callback` in the loop whenever `descriptor` is readable."""
        self._watched[descriptor] = callback
        self._epoll.register(descriptor, select.EPOLLIN)

    def unwatch(self, descriptor: int) -> None:
        """The opposite of `watch`, before the descriptor is closed."""
        del self._watched[descriptor]
        self._epoll.unregister(descriptor)

    def wake(self) -> None:
        """Make the loop turn; from another thread or a signal handler, too."""
        self._link.poke()

    def stop(self) -> None:
        """Make `run` return after this turn; from another thread or a signal handler, too."""
        self._stop = True
        self.wake()

    def run(self) -> None:
        """Keep spare children until `stop` is called."""
        self.resume()
        while not self._stop:
            self.top_up()
            self.turn(tops_up=True)
        self._stop = False

    def serve_backlog(self, end: float, listening: list[socket.socket]) -> None:
        """Serve on until nobody is queued on these sockets: what is queued would be reset when they close.

        `end` is the latest, of `time.monotonic`; `hasten` ends it, too. Who is busy is drained meanwhile, to make room.
        """
        queue = select.poll()
        for sock in listening:
            queue.register(sock, select.POLLIN)
        while queue.poll(0) and monotonic() < end and not self._stop:
            send(DRAIN, [child for child in self.children if self.board.state(child.index) == BUSY])
            self.top_up()
            self.turn(_BACKLOG_LOOK)
        self._stop = False

    def resume(self) -> None:
        """After a drain: children may be forked again."""
        self._drain = None

    def retire(self) -> None:
        """Replace every child by one that is forked after this. Who is busy ends after its connection, undisturbed."""
        for child in self.children:
            child.is_retired = True
        send(RETIRE, self.children)
        self._retirement = Repeat(monotonic() + FIRST_REPEAT)

    def withdraw(self) -> bool:
        """Retire every child and fork none, until nobody waits for a connection. Returns whether nobody is left."""
        self.retire()
        while self.any_waiting():
            self.turn()
        return not self.children and not self._passing.take()

    def drain(self, timeout: float, until: Callable[[], bool] | None = None) -> None:
        """Let every child end: at once if it waits, else with its connection, at `timeout` seconds by force.

        Returns when none is left, or when `until()` holds. A connection that a child passes up is still served.
        """
        self._drain = drain = Drain(monotonic(), timeout)
        while (self.children or self._passing.take()) and not (until and until()):
            if self._throttle.is_over(monotonic()):
                self._look_after()
                if not drain.is_killing:
                    self._serve_passed()
            if drain.is_killing:
                self.board.add("cut", self._passing.drop())
            self._send_due(drain)
            self.turn()

    def hasten(self) -> None:
        """A drain under way reaches its deadline now."""
        if self._drain is not None:
            self._drain.hasten(monotonic())
        else:
            self._stop = True
        self.wake()

    def close(self) -> None:
        """Forget the children and close the link to them: those that are left end."""
        self.children.forget()
        self._passing.close()
        self._epoll.close()
        self._link.close()

    def pids(self) -> set[int]:
        """The children that live, or have not been reaped."""
        return {child.pid for child in self.children}

    def _room(self) -> int:
        """How many children more there may be."""
        return self.max_children - len(self.children)

    def any_waiting(self) -> bool:
        """Whether a child still waits in accept()."""
        return any(self.board.waiting(server.listener) for server in self.servers)

    # The loop

    def turn(self, timeout: float | None = None, *, tops_up: bool = False) -> None:
        """Wait for what happens next, at most `timeout` seconds, and act on it.

        `tops_up`: forks what is missing before children are reaped, so that their process group does not die out.
        """
        if self._retirement is not None:
            self._retire_again(self._retirement)
        wait = self._seconds_to_wait(timeout)
        if self._set_poke_below():
            wait = 0  # a child may have taken a connection by the old rule: look once more before sleeping
        events = self._epoll.poll(wait, EVENTS_A_TURN)
        if wait != 0:  # a mere look tells nothing
            self._is_calm = not events
        self._happened = False
        ended = []
        for descriptor, _ in events:
            child = self.children.find(descriptor)
            if child is not None:
                ended.append(child)
            elif descriptor in self._lookout.listeners:
                self._lookout.client_came(monotonic(), self.observer)
                continue  # nothing has happened yet: no child has taken that client
            elif descriptor in self._watched:
                self._watched[descriptor]()
            self._happened = True
        if tops_up and ended and not self._stop:
            self.top_up()
        for child in ended:
            self._reap(child)

    def _seconds_to_wait(self, timeout: float | None) -> float:
        """Until the nearest deadline; -1: there is none."""
        now = monotonic()
        nearest = self.observer.turn(now, self._happened)
        for timer in self.timers:
            deadline = timer(now)
            if deadline is not None and (nearest is None or deadline < nearest):
                nearest = deadline
        next_look = self._lookout.turn(now)
        if next_look is not None and (nearest is None or next_look < nearest):
            nearest = next_look
        if timeout is not None and (nearest is None or now + timeout < nearest):
            nearest = now + timeout
        if self._throttle.until is not None:
            # Once it is over, a turn without waiting: what was put off is done by whoever turns us.
            pause_end = now if self._throttle.is_over(now) else self._throttle.until
            if nearest is None or pause_end < nearest:
                nearest = pause_end
        if self._drain is not None and (nearest is None or self._drain.next_deadline() < nearest):
            nearest = self._drain.next_deadline()
        if self._retirement is not None and (nearest is None or self._retirement.next < nearest):
            nearest = self._retirement.next
        return -1 if nearest is None else max(nearest - now, 0)

    def _set_poke_below(self) -> bool:
        """Tell the children when to wake us. True: the rule has changed."""
        if self._drain is not None:
            below = 0  # more than the end of a child cannot help us
        elif self.observer.at_rest:
            below = AT_REST
        elif self._room() <= 0:
            below = 0
        else:
            below = self._low_water + 1
        if self._poke_below == below == self.board["poke_below"]:
            return False
        self.board["poke_below"] = self._poke_below = below
        return True

    # Forking

    def top_up(self) -> None:
        """Fork what is missing: a child for a connection that was passed up, and spare children."""
        if self._throttle.until is not None and not self._throttle.is_over(monotonic()):
            return
        self._look_after()
        if self._passing.waiting is not None:
            self._serve_passed(tops_up=True)
        share = self._share
        low_water = share - 1 if self._is_calm else self._low_water
        # The listener with the fewest first: at the limit none is starved by another's load.
        servers = self.servers if len(self.servers) == 1 else sorted(self.servers, key=self._standing)
        for server in servers:
            waiting = self.board.waiting(server.listener)
            room = self._room()
            if room > 0 and waiting <= low_water and self._throttle.until is None:
                self._fork(server, min(share - waiting, room))

    def _standing(self, server: Server) -> tuple[int, int]:
        """How many children wait on the server's listener, and how many it has in all."""
        return self.board.waiting(server.listener), self._held[server.listener]

    def _fork(self, server: Server, count: int, passed: tuple[socket.socket, object] | None = None) -> int:
        """Fork `count` children for `server`, the first for what is `passed`. How many; fewer: forking is throttled."""
        children, failure = self.forker.fork(server, count, passed)
        for child in children:
            self._held[server.listener] += 1
            self._keep(child)
        if failure is not None:
            self._fork_failed(failure)
        return len(children)

    def _keep(self, child: Living) -> None:
        failure = self.children.add(child)
        if failure is not None:
            self._fork_failed(failure)

    def _look_after(self) -> None:
        """See to the children that could not be watched: whether they have ended, whether they can be by now."""
        for child in self.children.look_after():
            if not self._reap(child):
                self._keep(child)

    def _fork_failed(self, error: OSError) -> None:
        self.board.add("fork_failures")
        self._pause(f"fork: {error.strerror}")

    def _pause(self, reason: str) -> None:
        pause = self._throttle.failed(monotonic())
        if pause is not None:
            self.observer.throttled(reason, pause)

    # Connections that were accepted already

    def serve_connection(self, server: Server, request: socket.socket, address: object) -> None:
        """Fork a child for a connection, as the stock ForkingMixIn does. At the limit, waits for a child to end.

        Raises OSError where the fork fails.
        """
        while self._room() <= 0:
            self.turn()
        if not self._fork(server, 1, (request, address)):
            raise OSError("no child can be forked for the connection; forking is throttled")

    def _serve_passed(self, *, tops_up: bool = False) -> None:
        """Fork a child for the connection that was passed up; while that is impossible, it waits.

        `tops_up`: and spare ones with it. Of them, too, one was used up by this connection.
        """
        while (connection := self._passing.waiting) is not None and self._room() > 0:
            # A child is not trusted with the number of its listener.
            server = self.servers[min(self._passing.listener, len(self.servers) - 1)]
            missing = self._share - self.board.waiting(server.listener) + self._clear_the_way(server) if tops_up else 0
            if not self._fork(server, 1 + max(0, min(missing, self._room() - 1)), (connection, "")):
                return
            self.board.add("passed")
            self._turns.begin()
            self._passing.close()
            self._passing.take()

    def _clear_the_way(self, server: Server) -> int:
        """End the children of a listener that wait for their own users while others take turns. How many they are."""
        board = self.board
        bound = [
            child for child in self.children
            if child.server is server and board.is_waiting(child.index) and board.words(child.index)[CONNECTIONS]
        ]  # fmt: skip
        send(RETIRE, bound)
        return len(bound)

    # Ends

    def _retire_again(self, repeat: Repeat) -> None:
        """Signal those who still wait: it may have come in the instant before accept()."""
        if repeat.is_due(monotonic()):
            self._lookout.replace_stopped(self.observer)
            left = [child for child in self.children if child.is_retired and self.board.is_waiting(child.index)]
            send(RETIRE, left)
            if not left:
                self._retirement = None

    def _send_due(self, drain: Drain) -> None:
        was_cutting = drain.is_cutting
        due = drain.signal_due(monotonic())
        if drain.is_cutting and not was_cutting:
            self.observer.deadline_passed(len(self.children))
        if due is not None:
            self._lookout.replace_stopped(self.observer)
            send(due, self.children)

    def _reap(self, child: Living) -> bool:
        """Account for a child, if it has ended."""
        ended = self.children.reap(child)
        if ended is None:
            return False
        drain = self._drain
        end = close_account(self.board, child, *ended, drain is not None and drain.is_cutting)
        self._held[child.server.listener] -= 1
        self._learn_from(end)
        if self._turns.left:
            self._turns.child_ended(end)
        for take in self.accounts:
            take(end, monotonic())
        self.observer.child_ended(end)
        return True

    def _learn_from(self, end: End) -> None:
        """Whether forking is of use: one that failed before it served anybody says no, one that served says yes."""
        if end.was_cut or end.was_killed or end.was_overdue:
            return
        if not end.is_abnormal:
            if end.words[CONNECTIONS] and self._throttle.succeeded(end.words[STARTED]):
                self.observer.resumed()
        elif end.words[CONNECTIONS] == 0 and self._drain is None:
            cause = "accept() failed" if end.status == EX_OSERR << 8 else "it ended"
            self._pause(f"child {end.pid}: {cause} before its first connection")
