"""The scoreboard: a table in shared memory with one slot for each child, and the totals.

The daemon maps it for writing, its children inherit the map, and `upperctl` maps the file for reading. So figures cost
no request to the daemon, can be had while it is overloaded, and survive it. What stands where is layout.py's.

Who writes what (one writer for each field, so there is no lock):

- the header, and of a slot `pid`, `generation`, `listener`, `started_usec`: the parent;
- the rest of a slot, and its word in the state column: the child that owns the slot; the parent while there is none,
  or while it is stopped;
- `denied_uid` of the header: whichever child has refused somebody last.

What a child writes is gossip: a child may be broken. The parent never indexes by it, and a reader clamps it.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import sys
import time
from time import monotonic_ns

from upperd.layout import (
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
    FREE,
    GENERATION,
    HEADER,
    IDLE_LIMIT,
    LISTENER,
    MAGIC,
    MESSAGES,
    NONE,
    OUTCOME,
    PEER_GID,
    PEER_PID,
    PEER_UID,
    PID,
    REFUSED,
    RULES,
    SIZE,
    SLOTS,
    STARTED,
    STATE_BYTES,
    STATES,
    SUMMED,
    TABLE,
    TEXT,
    UNDECODABLE,
    UNKNOWN,
    UNKNOWN_CODE,
    WAITING,
    WORDS_A_SLOT,
    cell,
)

TYPE_CHECKING = False  # typing itself is too much memory for a process that forks
if TYPE_CHECKING:
    from collections.abc import Iterator

_POKE_BELOW, _FORKED, _GUARDED, _PER_USER, _RULES, _DENIED_UID = (
    HEADER[name] for name in ("poke_below", "forked", "guarded", "max_children_per_user", "rules", "denied_uid")
)
_count = bytes.count
_LOOKS = 100
"""At a column in which somebody has no time yet: enough for an instant, and then it counts as the first."""


_BLANK = memoryview(
    b"".join(
        (UNKNOWN if field in (PEER_UID, PEER_GID, PEER_PID) else 0).to_bytes(8, sys.byteorder)
        for field in range(WORDS_A_SLOT)
    )
).cast("Q")
"""A row before its child has done anything."""


def now_usec() -> int:
    """The time of every time field: microseconds of CLOCK_MONOTONIC."""
    return monotonic_ns() // 1000


class Slot:
    """A child's own row, as the child sees it."""

    __slots__ = ("words",)

    # Counters wrap (& UNKNOWN): whatever somebody has written over the file, nobody is to lose a connection by it.

    def __init__(self, words: memoryview) -> None:
        self.words = words

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


class Row:
    """A slot in use, as the parent reads it: its state byte and its words."""

    __slots__ = ("state", "words")

    def __init__(self, state: int, words: memoryview) -> None:
        self.state = state
        self.words = words


class Scoreboard:
    """The daemon's side: create, claim, release, count."""

    def __init__(self, path: str | None = None, slots: int = SLOTS) -> None:
        """Create the file `path` anew (mode 0640), or anonymous shared memory where `path` is None.

        `slots` are used, at most SLOTS; the file is always as long as SLOTS needs. A reader of the file that was there
        before keeps its last figures. Raises OSError, ENOSPC too: all of the memory is allocated here, because a page
        that cannot be had later is a SIGBUS.
        """
        self.path = path
        self._map = mmap.mmap(-1, SIZE) if path is None else _create(path)
        self._words = memoryview(self._map)[:STATES].cast("Q")
        self._table = memoryview(self._map)[TABLE:].cast("Q")
        self._free: list[int] = []
        self._states = memoryview(b"")
        self._generation = 0
        self._said: dict[str, int] = {}
        self._text = b""
        self.extend(slots)
        self["started_usec"] = now_usec()
        self["started_unix_usec"] = time.time_ns() // 1000
        self["pid"] = os.getpid()
        self["pid_started"] = pid_started(os.getpid()) or 0
        # Last: from now on a reader believes the rest.
        self["magic"] = MAGIC

    def extend(self, slots: int) -> None:
        """Use so many slots, at most SLOTS; never fewer than before, since the last ones may be in use."""
        before = len(self._states)
        if slots > before:
            self._free[:0] = range(slots - 1, before - 1, -1)
            self["slots"] = slots
            self._states = memoryview(self._map)[STATES : STATES + slots * 8].cast("Q")
            # Bound once, by the parent: the method of the class is a page that each child would write to.
            self._states_now = self._states.tobytes

    def __getitem__(self, field: str) -> int:
        return int(self._words[HEADER[field]])

    def __setitem__(self, field: str, value: int) -> None:
        self._words[HEADER[field]] = self._said[field] = value

    def add(self, field: str, count: int = 1) -> None:
        """Count `count` more in a field of the header."""
        self._words[HEADER[field]] = self._words[HEADER[field]] + count & UNKNOWN

    def describe(self, version: str, listeners: list[str]) -> None:
        """Write the text part: our version, and each listener in the order of their numbers."""
        self["listeners"] = len(listeners)
        text = "".join(f"{line}\n" for line in (version, *listeners)).encode("utf-8", "replace")
        room = STATES - TEXT - 1
        self._map[TEXT:STATES] = self._text = text[:room].ljust(room + 1, b"\0")

    # The parent's side of a slot

    def claim(self, listener: int, state: int) -> tuple[int, Slot]:
        """Take a free slot for a child about to be forked for `listener`; return its index, and the row.

        Raises IndexError where there is none: the caller keeps to `max_children`.
        """
        index = self._free.pop()
        words = self.words(index)
        words[:] = _BLANK
        words[LISTENER] = listener
        words[STARTED] = monotonic_ns() // 1000
        self._generation += 1
        words[GENERATION] = self._generation
        self._states[index] = state
        return index, Slot(words)

    def born(self, index: int, pid: int) -> None:
        """The child of the slot was forked."""
        self._table[index * WORDS_A_SLOT + PID] = pid
        self._words[_FORKED] = self._words[_FORKED] + 1 & UNKNOWN

    def release(self, index: int) -> None:
        """The child is gone: add its figures to the totals, free the slot."""
        words = self.words(index)
        header = self._words
        for field, total in SUMMED:
            count = words[field]
            if count:
                # Wraps like the counters of an interface: a broken child's nonsense must not stop the parent.
                header[total] = header[total] + count & UNKNOWN
        self._states[index] = FREE
        words[PID] = 0
        self._free.append(index)

    def set_busy(self, index: int) -> None:
        """Count the child of the slot as one that waits no more, and serves nobody."""
        self._states[index] = BUSY

    def repair(self, taken: set[int]) -> bool:
        """Make a scoreboard again of a file that somebody has written over; `taken` are the slots of the living.

        Returns whether it was so. The totals begin anew. Who waits cannot be known: all count as busy until they end.
        """
        if self["magic"] == MAGIC:
            return False
        self._map[:TABLE] = bytes(TABLE)
        for field, value in self._said.items():
            self._words[HEADER[field]] = value
        self._map[TEXT : TEXT + len(self._text)] = self._text
        for index in taken:
            self._states[index] = BUSY
        return True

    def words(self, index: int) -> memoryview:
        """The words of a slot, writable."""
        start = index * WORDS_A_SLOT
        return self._table[start : start + WORDS_A_SLOT]

    # The child's side

    def take(self, index: int, listener: int, uid: int) -> bool:
        """The child of the slot has taken a connection of `uid` from `listener`. Whether to wake the parent for it."""
        # As `cell` has it, but here: what a function of another module names is a page or two for each child to copy.
        self._states[index] = BUSY | (uid + 1 if uid != UNKNOWN else UNKNOWN_CODE) << 8
        row = index * WORDS_A_SLOT
        self._table[row + CLAIMED] = monotonic_ns()  # in this order: see may_serve
        self._table[row + RULES] = self._words[_RULES]
        # Not self._states_now(): Python would look for a method each time, in vain, and write down that it did.
        states_now = self._states_now
        return _count(states_now()[STATE_BYTES], WAITING + listener) < self._words[_POKE_BELOW]

    def wait(self, index: int, listener: int) -> None:
        """The child of the slot waits for its next connection."""
        self._table[index * WORDS_A_SLOT + CLAIMED] = 0
        self._states[index] = WAITING + listener

    def guards(self) -> int:
        """What there is to be kept at this moment: DOOR, LIMITS."""
        return self._words[_GUARDED]

    def deny(self, uid: int) -> bool:
        """A child has refused this user. Returns whether to wake the parent for it."""
        self._words[_DENIED_UID] = uid
        return self._words[_POKE_BELOW] == AT_REST

    def may_serve(self, index: int, uid: int) -> bool:
        """Whether the child of the slot, which has taken a connection of `uid`, is within `max_children_per_user`.

        Of several that take one at the same moment the first ones are (as in Lamport's bakery): a child is in the
        column before it looks at the clock, and looks at the clock before it counts. So whoever counted without seeing
        it has an earlier time; and whoever is in the column without a time will have one in an instant.
        """
        limit = self._words[_PER_USER]
        sought = cell(BUSY, uid)
        if not limit or self._states.tolist().count(sought) <= limit:
            return True
        for _ in range(_LOOKS):
            times = [
                (self._table[other * WORDS_A_SLOT + CLAIMED], other)
                for other, state in enumerate(self._states.tolist())
                if state == sought
            ]
            if all(time for time, _ in times):
                break
        mine = (self._table[index * WORDS_A_SLOT + CLAIMED], index)
        return sum(other < mine for other in times) < limit

    # Counting

    def state(self, index: int) -> int:
        """The state of a slot."""
        return int(self._states[index]) & 0xFF

    def is_waiting(self, index: int) -> bool:
        """Whether the child of this slot waits in accept()."""
        return WAITING <= self._states[index] & 0xFF < BUSY

    def waiting(self, listener: int) -> int:
        """How many children wait in accept() on `listener`."""
        return self._states.tobytes()[STATE_BYTES].count(WAITING + listener)

    def busy(self) -> int:
        """How many children serve a connection."""
        return self._states.tobytes()[STATE_BYTES].count(BUSY)

    def last_active_usec(self) -> int:
        """When one of the living last received or sent something; 0: none ever did."""
        return max((int(row.words[ACTIVE]) for row in self.living()), default=0)

    def living(self) -> Iterator[Row]:
        """The slots in use."""
        for index, state in enumerate(self._states.tolist()):
            if state != FREE:
                yield Row(state & 0xFF, self.words(index))


def pid_started(pid: int) -> int | None:
    """When the process started, in clock ticks since boot (proc(5), stat, field 22); None: it is gone or hidden."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _clear(path: str) -> None:
    """Remove an old scoreboard, or a link, which is not followed. Raises OSError: something else is there."""
    try:
        if not stat.S_ISLNK(os.lstat(path).st_mode) and not _is_scoreboard(path):
            raise FileExistsError(errno.EEXIST, "a file that is not a scoreboard is there", path)
        os.unlink(path)
    except FileNotFoundError:
        pass


def _is_scoreboard(path: str) -> bool:
    """Whether the file is one, whole or not, or was to become one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        return os.read(descriptor, 8) in (b"", bytes(8), MAGIC.to_bytes(8, sys.byteorder))
    finally:
        os.close(descriptor)


def _create(path: str) -> mmap.mmap:
    _clear(path)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o640)
    try:
        os.fchmod(descriptor, 0o640)
        os.posix_fallocate(descriptor, 0, SIZE)
        return mmap.mmap(descriptor, SIZE)
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)
