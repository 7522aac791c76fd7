"""The scoreboard, as the parent writes it: a table in shared memory with a row for each child, and the totals.

The daemon maps a file for writing, and `upperctl` reads that file. So figures cost no request to the daemon, are there
while it is overloaded, and survive it. What stands where is layout.py's.

There is no lock, since each field has one writer: of the header and of "who is where" the parent, of what a child has
done the child. A child has its own page of the map and nothing else of it (`MADV_DONTFORK`, madvise(2)). What a child
writes is gossip: it may be broken. The parent never indexes by it, and a reader clamps it.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from mmap import MADV_DOFORK, MADV_DONTFORK, mmap

from upperd.server import layout
from upperd.server.layout import HEADER, PID, PIDS, ROW_FIELDS, ROW_SIZE, ROWS, SIZE, TEXT, UNKNOWN, now_usec
from upperd.server.snapshot import pid_started

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_ROW_WORDS = len(ROW_FIELDS)
_FAILURE_WORD = layout.FAILURE // 8
_BLANK = memoryview(bytearray(_ROW_WORDS * 8)).cast("Q")
"""A row before anything has happened."""
for _field in (layout.PEER_UID, layout.PEER_GID, layout.PEER_PID):
    _BLANK[_field] = UNKNOWN


class Scoreboard:
    """The parent's side: create, claim, release, count."""

    def __init__(self, path: str | None = None, slots: int = layout.SLOTS) -> None:
        """Create the file `path` anew (mode 0640), or anonymous shared memory where `path` is None.

        `slots` are used, at most SLOTS. A reader of the file that was there before keeps its last figures. Raises
        OSError, ENOSPC too: the memory is allocated here, because a page that is missing later is a SIGBUS.
        """
        self.path = path
        self._map = mmap(-1, SIZE) if path is None else _create(path, slots)
        self._map.madvise(MADV_DONTFORK)
        self.header = memoryview(self._map)[:TEXT].cast("Q")
        self._pids = memoryview(self._map)[PIDS:ROWS].cast("Q")
        self._free: list[int] = []
        self._in_use: dict[int, memoryview] = {}
        self._living: dict[int, int] = {}  # by slot: the pid of its child
        self._generation = 0
        self._said = dict.fromkeys(layout.HEADER_FIELDS, 0)
        self._text = b""
        self.extend(slots)
        self["started_usec"] = now_usec()
        self["started_unix_usec"] = time.time_ns() // 1000
        self["denied_uid"] = UNKNOWN
        self["pid"] = os.getpid()
        self["pid_started"] = pid_started(os.getpid()) or 0
        # Last: from now on a reader believes the rest.
        self["magic"] = layout.MAGIC

    def extend(self, slots: int) -> None:
        """Use so many slots, at most SLOTS; never fewer than before. Raises OSError: there is no memory for them."""
        before = self["slots"]
        if slots <= before:
            return
        if self.path is not None:
            descriptor = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.posix_fallocate(descriptor, 0, ROWS + slots * ROW_SIZE)
            finally:
                os.close(descriptor)
        self._free[:0] = range(slots - 1, before - 1, -1)
        self["slots"] = slots

    def __getitem__(self, field: str) -> int:
        return int(self.header[HEADER[field]])

    def __setitem__(self, field: str, value: int) -> None:
        self.header[HEADER[field]] = self._said[field] = value

    def add(self, field: str, count: int = 1) -> None:
        """Count `count` more in a field of the header. It wraps, as the counters of a network interface do."""
        self.header[HEADER[field]] = self.header[HEADER[field]] + count & UNKNOWN

    def describe(
        self, version: str, listeners: Sequence[str], counters: Sequence[str], name: str = layout.DEFAULT_NAME
    ) -> None:
        """Write the text: version and name, each listener in the order of their numbers, the handler's own counters."""
        self["listeners"] = len(listeners)
        text = "".join(f"{line}\n" for line in (version, name, *listeners, *counters)).encode("utf-8", "replace")
        room = PIDS - TEXT - 1
        self._map[TEXT:PIDS] = self._text = text[:room].ljust(room + 1, b"\0")

    # Rows

    def claim(self) -> tuple[int, memoryview]:
        """Take a free slot for a child about to be forked; return its number, and its row.

        Raises IndexError where there is none: the caller keeps to `max_children`.
        """
        slot = self._free.pop()
        start = ROWS + slot * ROW_SIZE
        words = memoryview(self._map)[start : start + ROW_SIZE].cast("Q")
        words[:_ROW_WORDS] = _BLANK
        words[_FAILURE_WORD] = 0
        self._generation += 1
        words[layout.GENERATION] = self._generation
        words[layout.STARTED] = now_usec()
        self._in_use[slot] = words
        return slot, words

    def born(self, slot: int, pid: int) -> None:
        """The child of the slot was forked."""
        self._in_use[slot][PID] = self._pids[slot] = self._living[slot] = pid
        self.add("forked")

    def release(self, slot: int) -> None:
        """The child is gone: add its figures to the totals, free the slot."""
        words, header = self._in_use.pop(slot), self.header
        for field, total in layout.SUMMED:
            if count := words[field]:
                header[total] = header[total] + count & UNKNOWN
        self._pids[slot] = words[PID] = 0
        self._living.pop(slot, None)  # it may not have been forked
        self._free.append(slot)

    def show(self, slot: int) -> None:
        """Let the next process that is forked have this row."""
        self._map.madvise(MADV_DOFORK, ROWS + slot * ROW_SIZE, ROW_SIZE)

    def hide(self, slot: int) -> None:
        self._map.madvise(MADV_DONTFORK, ROWS + slot * ROW_SIZE, ROW_SIZE)

    def living(self) -> Iterable[memoryview]:
        return self._in_use.values()

    def total(self, name: str) -> int:
        """A total of the header, the living included."""
        field = ROW_FIELDS.index(name)
        return self[name] + sum(words[field] for words in self._in_use.values())

    def repair(self) -> bool:
        """Write what is not a child's anew if the file was written over. Returns whether it was; totals begin anew."""
        if self["magic"] == layout.MAGIC:
            return False
        for field, value in self._said.items():
            self.header[HEADER[field]] = value
        self._map[TEXT : TEXT + len(self._text)] = self._text
        self._map[PIDS:ROWS] = bytes(ROWS - PIDS)
        for slot, pid in self._living.items():
            self._pids[slot] = pid
        return True


# The file


def _create(path: str, slots: int) -> mmap:
    _clear(path)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o640)
    try:
        os.fchmod(descriptor, 0o640)  # whatever the umask is
        os.ftruncate(descriptor, SIZE)
        os.posix_fallocate(descriptor, 0, ROWS + slots * ROW_SIZE)
        return mmap(descriptor, SIZE)
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def _clear(path: str) -> None:
    """Remove an old scoreboard, or a link, which is not followed. Raises OSError: something else is there."""
    try:
        if not stat.S_ISLNK(os.lstat(path).st_mode) and not _is_scoreboard(path):
            raise FileExistsError(errno.EEXIST, "a file that is not a scoreboard is there", path)
        os.unlink(path)
    except FileNotFoundError:
        pass


def _is_scoreboard(path: str) -> bool:
    """Whether the file is one, whole or not, of any version, or was to become one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        mark = os.read(descriptor, 8)
        return mark in (b"", bytes(8)) or mark[:7] == layout.MAGIC.to_bytes(8, "little")[:7]
    finally:
        os.close(descriptor)
