"""The scoreboard: a table in shared memory with one slot for each child, and the totals.

The daemon maps it for writing, its children inherit the map, and `upperctl` maps the file for reading. So figures cost
no request to the daemon, can be had while it is overloaded, and survive it.

Who writes what (one writer for each field, so there is no lock):

- the header, and of a slot `pid`, `generation`, `listener`, `started_usec`: the parent;
- the rest of a slot, and its byte in the state column: the child that owns the slot; the parent while there is none.

What a child writes is gossip: a child may be broken. The parent never indexes by it, and a reader clamps it.

Layout, version 1. Every number is an unsigned 64-bit word in the byte order of the host; times are microseconds of
CLOCK_MONOTONIC.

    offset 0      the header: words in the order of HEADER_FIELDS
    offset 1024   text in UTF-8, lines ending in a newline, then zeros: the version, then one line for each listener
    offset 4096   the state column: one byte a slot (see FREE, BUSY, WAITING)
    offset 8192   the slots: 16 words each, in the order of SLOT_FIELDS

The states stand in a column of their own so that "how many children wait on listener 2" is one `bytes.count`, for the
parent and for a child that has just taken a connection alike.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
import sys
import time
from time import monotonic_ns

TYPE_CHECKING = False  # typing itself is too much memory for a process that forks
if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = int.from_bytes(b"UPPERD\x00\x01", "little")
SLOTS = 4096
"""The ceiling of `max_children`: slots in every scoreboard."""

TEXT = 1024
STATES = 4096
TABLE = STATES + SLOTS
WORDS_A_SLOT = 16
SIZE = TABLE + SLOTS * WORDS_A_SLOT * 8

UNKNOWN = 2**64 - 1
"""Stands for a peer's uid, gid or pid that cannot be known (TCP)."""

# State of a slot.
FREE = 0
BUSY = 1
"""The child serves a connection, or is on its way out."""
WAITING = 0x80
"""WAITING + n: the child waits in accept() on listener n."""
LISTENERS = 0x80
"""The ceiling of listeners, so that WAITING + n is a byte."""

SLOT_FIELDS = (
    "pid",
    "generation",
    "listener",
    "started_usec",
    "peer_uid",
    "peer_gid",
    "peer_pid",
    "connections",
    "messages",
    "bytes_in",
    "bytes_out",
    "undecodable",
    "refused",
    "connected_usec",
    "active_usec",
    "outcome",
)
(
    PID, GENERATION, LISTENER, STARTED, PEER_UID, PEER_GID, PEER_PID, CONNECTIONS,
    MESSAGES, BYTES_IN, BYTES_OUT, UNDECODABLE, REFUSED, CONNECTED, ACTIVE, OUTCOME,
) = range(WORDS_A_SLOT)

OUTCOMES = ("", "done", "quiet", "cut", "reset", "refused", "failed", "passed")
"""How a child's last connection ended, by the number in `outcome`:

done: at the client's end of file; quiet: by us, while draining, in a quiet moment; cut: by us at the drain deadline;
reset: by the client, before it had read everything; refused: by `verify_request`; failed: the handler raised;
passed: it came from another user and was handed to the parent. Empty: none has ended yet.
"""
NONE, DONE, QUIET, CUT, RESET, REFUSED_OUTCOME, FAILED, PASSED = range(len(OUTCOMES))

PHASES = ("starting", "ready", "draining", "stopped")
STARTING, READY, DRAINING, STOPPED = range(len(PHASES))

HEADER_FIELDS = (
    "magic",
    "pid",
    "pid_started",  # field 22 of /proc/PID/stat: with the pid it names one process for ever
    "phase",
    "started_usec",
    "started_unix_usec",
    "slots",
    "max_children",
    "spare_children",
    "connections_per_child",
    "drain_timeout_usec",
    "listeners",
    "poke_below",
    "forked",
    "ended",
    "crashed",
    "cut",
    "killed",
    "fork_failures",
    "passed",
    "records_lost",
    # Totals of the children that have ended. Those of the living are added by the reader (snapshot.py).
    "connections",
    "messages",
    "bytes_in",
    "bytes_out",
    "undecodable",
    "refused",
)
HEADER = {name: index for index, name in enumerate(HEADER_FIELDS)}
SUMMED = (
    (CONNECTIONS, HEADER["connections"]),
    (MESSAGES, HEADER["messages"]),
    (BYTES_IN, HEADER["bytes_in"]),
    (BYTES_OUT, HEADER["bytes_out"]),
    (UNDECODABLE, HEADER["undecodable"]),
    (REFUSED, HEADER["refused"]),
)
"""What is added to the totals when a child ends: (field of its slot, field of the header)."""
_POKE_BELOW, _FORKED = HEADER["poke_below"], HEADER["forked"]
_count = bytes.count


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

    def __init__(self, words: memoryview) -> None:
        self.words = words

    def connected(self, uid: int, gid: int, pid: int) -> None:
        """A connection of this peer was accepted."""
        words = self.words
        words[PEER_UID] = uid
        words[PEER_GID] = gid
        words[PEER_PID] = pid
        words[CONNECTIONS] += 1
        words[CONNECTED] = words[ACTIVE] = monotonic_ns() // 1000
        words[OUTCOME] = NONE

    def received(self, size: int) -> None:
        """A message of `size` bytes came in: as much as one read returned."""
        words = self.words
        words[MESSAGES] += 1
        words[BYTES_IN] += size
        words[ACTIVE] = monotonic_ns() // 1000

    def sent(self, size: int) -> None:
        """The kernel took `size` bytes of the answer, which may have waited for a slow reader."""
        words = self.words
        words[BYTES_OUT] += size
        words[ACTIVE] = monotonic_ns() // 1000

    def undecodable(self, count: int) -> None:
        """`count` more bytes were not UTF-8."""
        self.words[UNDECODABLE] += count

    def idle_usec(self) -> int:
        """How long nothing has come in or gone out, in microseconds."""
        return now_usec() - int(self.words[ACTIVE])

    def end(self, outcome: int) -> None:
        """The connection ended, or is about to, in this way (see OUTCOMES)."""
        self.words[OUTCOME] = outcome


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
        self._generation = 0
        self.extend(slots)
        self["started_usec"] = now_usec()
        self["started_unix_usec"] = time.time_ns() // 1000
        self["pid"] = os.getpid()
        self["pid_started"] = pid_started(os.getpid()) or 0
        # Last: from now on a reader believes the rest.
        self["magic"] = MAGIC

    def extend(self, slots: int) -> None:
        """Use so many slots, at most SLOTS; never fewer than before, since the last ones may be in use."""
        before = self["slots"]
        if slots > before:
            self._free[:0] = range(slots - 1, before - 1, -1)
            self["slots"] = slots
            self._states = memoryview(self._map)[STATES : STATES + slots]
            # Bound once, by the parent: the method of the class is a page that each child would write to.
            self._states_now = self._states.tobytes

    def __getitem__(self, field: str) -> int:
        return int(self._words[HEADER[field]])

    def __setitem__(self, field: str, value: int) -> None:
        self._words[HEADER[field]] = value

    def add(self, field: str, count: int = 1) -> None:
        """Count `count` more in a field of the header."""
        self._words[HEADER[field]] += count

    def describe(self, version: str, listeners: list[str]) -> None:
        """Write the text part: our version, and each listener in the order of their numbers."""
        self["listeners"] = len(listeners)
        text = "".join(f"{line}\n" for line in (version, *listeners)).encode("utf-8", "replace")
        room = STATES - TEXT - 1
        self._map[TEXT:STATES] = text[:room].ljust(room + 1, b"\0")

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
        self._words[_FORKED] += 1

    def release(self, index: int) -> None:
        """The child is gone: add its figures to the totals, free the slot."""
        words = self.words(index)
        header = self._words
        for field, total in SUMMED:
            count = words[field]
            if count:
                # Wraps like the counters of an interface: a broken child's nonsense must not stop the parent.
                count += header[total]
                header[total] = count if count <= UNKNOWN else count & UNKNOWN
        self._states[index] = FREE
        words[PID] = 0
        self._free.append(index)

    def words(self, index: int) -> memoryview:
        """The words of a slot, writable."""
        start = index * WORDS_A_SLOT
        return self._table[start : start + WORDS_A_SLOT]

    # The child's side

    def take(self, index: int, listener: int) -> bool:
        """The child of the slot has taken a connection from `listener`. Returns whether to wake the parent for it."""
        self._states[index] = BUSY
        # Not self._states_now(): Python would look for a method each time, in vain, and write down that it did.
        states_now = self._states_now
        return _count(states_now(), WAITING + listener) < self._words[_POKE_BELOW]

    def set_state(self, index: int, state: int) -> None:
        """FREE, BUSY, or WAITING + the number of the listener."""
        self._states[index] = state

    # Counting

    def state(self, index: int) -> int:
        """The state byte of a slot."""
        return int(self._states[index])

    def is_waiting(self, index: int) -> bool:
        """Whether the child of this slot waits in accept()."""
        return bool(self._states[index] >= WAITING)

    def waiting(self, listener: int) -> int:
        """How many children wait in accept() on `listener`."""
        return self._states.tobytes().count(WAITING + listener)

    def busy(self) -> int:
        """How many children serve a connection."""
        return self._states.tobytes().count(BUSY)

    def last_active_usec(self) -> int:
        """When one of the living last received or sent something; 0: none ever did."""
        return max((int(row.words[ACTIVE]) for row in self.living()), default=0)

    def living(self) -> Iterator[Row]:
        """The slots in use."""
        for index, state in enumerate(self._states.tobytes()):
            if state != FREE:
                yield Row(state, self.words(index))


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
