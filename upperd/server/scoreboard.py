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
from functools import partial
from time import monotonic_ns

from upperd.server.layout import (
    ACTIVE,
    BUSY,
    CONNECTIONS,
    FREE,
    GENERATION,
    HEADER,
    LISTENER,
    LISTENERS,
    MAGIC,
    PEER_GID,
    PEER_PID,
    PEER_UID,
    PID,
    SIZE,
    SLOTS,
    STARTED,
    STATE_BYTES,
    STATES,
    SUMMED,
    TABLE,
    TEXT,
    UNKNOWN,
    USER_BYTES,
    WAITING,
    WORDS_A_SLOT,
)
from upperd.server.slot import Slot, now_usec

TYPE_CHECKING = False  # typing itself is too much memory for a process that forks
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_FORKED = HEADER["forked"]
_BLANK = memoryview(
    b"".join(
        (UNKNOWN if field in (PEER_UID, PEER_GID, PEER_PID) else 0).to_bytes(8, sys.byteorder)
        for field in range(WORDS_A_SLOT)
    )
).cast("Q")
"""A row before its child has done anything."""


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
        self._free: list[int] = []
        self._former: list[tuple[object, ...]] = []
        self.column = memoryview(b"")
        self._make_views(0)
        self._generation = 0
        self._said = dict.fromkeys(HEADER, 0)
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
        before = len(self.column)
        if slots > before:
            self._free[:0] = range(slots - 1, before - 1, -1)
            self["slots"] = slots
            self._make_views(slots)

    def settle(self) -> None:
        """Make anew what a child writes to, so that it lies beside the rest of that (packing.py)."""
        # What there was is kept: freed, it would be a gap.
        self._former.append((self.header, self.table, self.column, self.states_now, self.users_now))
        self._make_views(len(self.column))

    def _make_views(self, slots: int) -> None:
        self.header = memoryview(self._map)[:STATES].cast("Q")
        self.table = memoryview(self._map)[TABLE:].cast("Q")
        end = STATES + slots * 8
        self.column = memoryview(self._map)[STATES:end].cast("Q")
        # Of the map: what memoryview.tobytes() of every eighth byte takes grows twenty times as fast with the slots.
        # Bound once, by the parent: the method of the class is a page that each child would write to.
        read: Callable[[slice], bytes] = self._map.__getitem__
        self.states_now: Callable[[], bytes] = partial(read, slice(STATES + STATE_BYTES.start, end, 8))
        self.users_now: Callable[[], bytes] = partial(read, slice(STATES + USER_BYTES.start, end, 8))

    def __getitem__(self, field: str) -> int:
        return int(self.header[HEADER[field]])

    def __setitem__(self, field: str, value: int) -> None:
        self.header[HEADER[field]] = self._said[field] = value

    def add(self, field: str, count: int = 1) -> None:
        """Count `count` more in a field of the header."""
        self.header[HEADER[field]] = self.header[HEADER[field]] + count & UNKNOWN

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
        self.column[index] = state
        return index, Slot(self, index, listener, words)

    def born(self, index: int, pid: int) -> None:
        """The child of the slot was forked."""
        self.table[index * WORDS_A_SLOT + PID] = pid
        self.header[_FORKED] = self.header[_FORKED] + 1 & UNKNOWN

    def release(self, index: int) -> None:
        """The child is gone: add its figures to the totals, free the slot."""
        words = self.words(index)
        header = self.header
        for field, total in SUMMED:
            count = words[field]
            if count:
                # Wraps like the counters of an interface: a broken child's nonsense must not stop the parent.
                header[total] = header[total] + count & UNKNOWN
        self.column[index] = FREE
        words[PID] = 0
        self._free.append(index)

    def set_busy(self, index: int) -> None:
        """Count the child of the slot as one that waits no more, and serves nobody."""
        self.column[index] = BUSY

    def repair(self, taken: set[int]) -> bool:
        """Make a scoreboard again of a file that somebody has written over; `taken` are the slots of the living.

        Returns whether it was so. The totals begin anew. Who waits cannot be known: all count as busy until they end.
        """
        if self["magic"] == MAGIC:
            return False
        self._map[:TABLE] = bytes(TABLE)
        for field, value in self._said.items():
            self.header[HEADER[field]] = value
        self._map[TEXT : TEXT + len(self._text)] = self._text
        for index in taken:
            self.column[index] = BUSY
        return True

    def words(self, index: int) -> memoryview:
        """The words of a slot, writable."""
        start = index * WORDS_A_SLOT
        return self.table[start : start + WORDS_A_SLOT]

    # Counting

    def state(self, index: int) -> int:
        """The state of a slot."""
        return int(self.column[index]) & 0xFF

    def is_waiting(self, index: int) -> bool:
        """Whether the child of this slot waits in accept()."""
        return WAITING <= self.column[index] & 0xFF < WAITING + LISTENERS

    def waiting(self, listener: int) -> int:
        """How many children wait in accept() on `listener`."""
        return self.states_now().count(WAITING + listener)

    def busy(self) -> int:
        """How many children serve a connection."""
        return self.states_now().count(BUSY)

    def connections(self) -> list[int]:
        """How many connections the child of each slot has served."""
        return self.table[CONNECTIONS : len(self.column) * WORDS_A_SLOT : WORDS_A_SLOT].tolist()

    def last_active_usec(self) -> int:
        """When one of the living last received or sent something; 0: none ever did."""
        return max((int(row.words[ACTIVE]) for row in self.living()), default=0)

    def living(self) -> Iterator[Row]:
        """The slots in use."""
        for index, state in enumerate(self.column.tolist()):
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
