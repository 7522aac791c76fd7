"""A child's own slot of the scoreboard: its row, and its word in the state column.

The law: it runs in the child, which has nothing else of the scoreboard in its hands. So what it needs of the whole
(the header, the column) stands in one object, beside the rest of what a child writes to.
"""

from __future__ import annotations

from time import monotonic_ns

from upperd.server.layout import (
    ACTIVE,
    AT_REST,
    BUSY,
    BYTES_IN,
    BYTES_OUT,
    CLAIMED,
    CONNECTED,
    CONNECTIONS,
    COUNTED,
    EXPIRES,
    HEADER,
    IDLE_LIMIT,
    MESSAGES,
    NONE,
    OUTCOME,
    PEER_GID,
    PEER_PID,
    PEER_UID,
    REFUSED,
    RULES,
    UNDECODABLE,
    UNKNOWN,
    UNKNOWN_CODE,
    USER_SHIFT,
    WAITING,
    WORDS_A_SLOT,
    cell,
)

TYPE_CHECKING = False  # typing itself is too much memory for a process that forks
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Board(Protocol):
        """What is needed of scoreboard.py."""

        header: memoryview
        table: memoryview
        column: memoryview
        states_now: Callable[[], bytes]
        users_now: Callable[[], bytes]

_POKE_BELOW, _PER_USER, _RULES, _DENIED_UID = (
    HEADER[name] for name in ("poke_below", "max_children_per_user", "rules", "denied_uid")
)
_count = bytes.count
_LOOKS = 100
"""At a column in which somebody has no time yet: enough for an instant, and then it counts as the first."""


def now_usec() -> int:
    """The time of every time field: microseconds of CLOCK_MONOTONIC."""
    return monotonic_ns() // 1000


class Slot:
    """What a child tells, and asks, of the scoreboard."""

    __slots__ = ("_column", "_index", "_states_now", "_table", "_users_now", "_waiting", "header", "words")

    # Counters wrap (& UNKNOWN): whatever somebody has written over the file, nobody is to lose a connection by it.

    def __init__(self, board: Board, index: int, listener: int, words: memoryview) -> None:
        """Of the child at `index` that waits on `listener`; `words` are its row."""
        self.words = words
        self.header = board.header
        """The words of the header; a child writes none but `denied_uid`."""
        self._index = index
        self._waiting = WAITING + listener
        self._column = board.column
        # Bound by the parent: the method of the class is a page that each child would write to.
        self._states_now = board.states_now
        self._users_now = board.users_now
        self._table = board.table

    # In the column

    def take(self, uid: int) -> bool:
        """We have taken a connection of `uid`. Returns whether to wake the parent for it."""
        # As `cell` has it, but here: what a function of another module names is a page or two for each child to copy.
        self._column[self._index] = BUSY | (uid + 1 if uid != UNKNOWN else UNKNOWN_CODE) << USER_SHIFT
        header, words = self.header, self.words
        words[CLAIMED] = monotonic_ns()  # in this order: see may_serve
        words[RULES] = header[_RULES]
        # Not self._states_now(): Python would look for a method each time, in vain, and write down that it did.
        states_now = self._states_now
        return _count(states_now(), self._waiting) < header[_POKE_BELOW]

    def wait(self) -> None:
        """We wait for our next connection."""
        self.words[CLAIMED] = 0
        self._column[self._index] = self._waiting

    def set_busy(self) -> None:
        """We wait no more, and serve nobody."""
        self._column[self._index] = BUSY

    def deny(self, uid: int) -> bool:
        """We have refused this user. Returns whether to wake the parent for it."""
        self.header[_DENIED_UID] = uid
        return self.header[_POKE_BELOW] == AT_REST

    def may_serve(self, uid: int) -> bool:
        """Whether we, who have taken a connection of `uid`, are within `max_children_per_user`.

        Of several that take one at the same moment the first ones are (as in Lamport's bakery): a child is in the
        column before it looks at the clock, and looks at the clock before it counts. So whoever counted without seeing
        it has an earlier time; and whoever is in the column without a time will have one in an instant.
        """
        limit = self.header[_PER_USER]
        users_now = self._users_now
        # The users whose lowest byte is the same are counted, too: if all of them are few enough, so are this one's.
        return (
            not limit
            or _count(users_now(), (uid + 1 if uid != UNKNOWN else UNKNOWN_CODE) & 0xFF) <= limit
            or self._is_among_the_first(limit, cell(BUSY, uid))
        )

    def _is_among_the_first(self, limit: int, sought: int) -> bool:
        """Whether fewer than `limit` of those with this word in the column have taken their connection before us."""
        if self._column.tolist().count(sought) <= limit:
            return True
        for _ in range(_LOOKS):
            times = [
                (self._table[other * WORDS_A_SLOT + CLAIMED], other)
                for other, state in enumerate(self._column.tolist())
                if state == sought
            ]
            if all(time for time, _ in times):
                break
        mine = (self.words[CLAIMED], self._index)
        return sum(other < mine for other in times) < limit

    # In our row

    def connected(self, uid: int, gid: int, pid: int) -> None:
        """A connection of this peer was accepted."""
        words = self.words
        words[PEER_UID] = uid
        words[PEER_GID] = gid
        words[PEER_PID] = pid
        words[CONNECTIONS] = words[CONNECTIONS] + 1 & UNKNOWN
        words[CONNECTED] = words[ACTIVE] = monotonic_ns() // 1000
        words[OUTCOME] = words[IDLE_LIMIT] = words[EXPIRES] = NONE

    def received(self, size: int) -> None:
        """A message of `size` bytes came in: as much as one read returned."""
        words = self.words
        words[MESSAGES] = words[MESSAGES] + 1 & UNKNOWN
        words[BYTES_IN] = words[BYTES_IN] + size & UNKNOWN
        words[ACTIVE] = monotonic_ns() // 1000

    def sent(self, size: int) -> None:
        """The kernel took `size` bytes of the answer, which may have waited for a slow reader."""
        words = self.words
        words[BYTES_OUT] = words[BYTES_OUT] + size & UNKNOWN
        words[ACTIVE] = monotonic_ns() // 1000

    def undecodable(self, count: int) -> None:
        """`count` more bytes were not UTF-8."""
        self.words[UNDECODABLE] = self.words[UNDECODABLE] + count & UNKNOWN

    def idle_usec(self) -> int:
        """How long nothing has come in or gone out, in microseconds."""
        return now_usec() - int(self.words[ACTIVE])

    def end(self, outcome: int) -> None:
        """The connection ended, or is about to, in this way (see OUTCOMES)."""
        self.words[OUTCOME] = outcome

    def end_at_limit(self, outcome: int) -> None:
        """The same, where a limit or a rule of ours is the cause (see COUNTED), and nothing was before."""
        if self.words[OUTCOME] == NONE:
            self.words[OUTCOME] = outcome
            field = COUNTED[outcome]
            self.words[field] = self.words[field] + 1 & UNKNOWN

    def refused(self, reason: int) -> None:
        """A connection was refused for this reason: REFUSED_ACCESS, REFUSED_USER or REFUSED_RATE."""
        for field in (REFUSED, reason):
            self.words[field] = self.words[field] + 1 & UNKNOWN
