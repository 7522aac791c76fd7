"""The scoreboard, as the parent writes it: a table in shared memory with a row for each child, and the totals.

The daemon maps a file, and `upperctl` reads it. So figures cost no request to the daemon, can be read under overload,
and survive the daemon. layout.py has the layout.

There is no lock, because each field has one writer: the parent for the header and the places, a child for its row. A
child has its own page of the map and no other (`MADV_DONTFORK`, madvise(2)). What it writes may be broken or false. The
parent decides by its own memory and never uses these words as an index; a reader clamps them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from mmap import MADV_DOFORK, MADV_DONTFORK, mmap

from upperd.server import layout
from upperd.server.layout import (
    HEADER,
    NOTE,
    PID,
    PLACE_FIELDS,
    PLACE_SIZE,
    PLACES,
    ROW_FIELDS,
    ROW_SIZE,
    ROWS,
    SIZE,
    TEXT,
    UNKNOWN,
    now_usec,
)
from upperd.server.snapshot import pid_started

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_FAILURE_WORD = layout.FAILURE // 8
_ROW = memoryview(bytes(len(ROW_FIELDS) * 8)).cast("Q")
"""An unused row."""
_PLACE = memoryview(bytearray(len(PLACE_FIELDS) * 8)).cast("Q")
for _field in (layout.PEER_UID, layout.PEER_GID, layout.PEER_PID):
    _PLACE[_field] = UNKNOWN


class Scoreboard:
    """The parent's side: create, claim, release, count."""

    def __init__(self, path: str | None = None, slots: int = layout.SLOTS) -> None:
        """Create the file `path` anew (mode 0640), or anonymous shared memory where `path` is None.

        `slots` are used, at most SLOTS. A reader of the file that was there before keeps its last figures. Raises
        OSError, ENOSPC too: the memory is allocated here, because a page that is missing later is a SIGBUS.
        """
        self.path = path
        self._file = -1 if path is None else _create(path, slots)
        """Kept open, because the path may name another file later."""
        self._map = mmap(self._file, SIZE)
        self._map.madvise(MADV_DONTFORK)
        self.header = memoryview(self._map)[:TEXT].cast("Q")
        self._slots = 0
        self._free: list[int] = []
        self._in_use: dict[int, tuple[memoryview, memoryview]] = {}
        self._generation = 0
        self._said = dict.fromkeys(layout.HEADER_FIELDS, 0)
        self._text = self._note = b""
        self.extend(slots)
        self["started_usec"] = now_usec()
        self["started_unix_usec"] = time.time_ns() // 1000
        self["denied_uid"] = UNKNOWN
        self["pid"] = os.getpid()
        self["pid_started"] = pid_started(os.getpid()) or 0
        # Last: it tells readers that the rest is valid.
        self["magic"] = layout.MAGIC

    def extend(self, slots: int) -> None:
        """Use more slots, at most SLOTS. Raises OSError if there is no memory for them."""
        before = self._slots
        if slots <= before:
            return
        if self._file >= 0:
            os.posix_fallocate(self._file, 0, ROWS + slots * ROW_SIZE)
        self._free[:0] = range(slots - 1, before - 1, -1)
        self["slots"] = self._slots = slots

    @property
    def is_lost(self) -> bool:
        """Whether the file was removed, or another one lies in its place: no reader finds it."""
        if self.path is None:
            return False
        try:
            return not os.path.samestat(os.lstat(self.path), os.fstat(self._file))
        except OSError:
            return True

    def __getitem__(self, field: str) -> int:
        return int(self.header[HEADER[field]])

    def __setitem__(self, field: str, value: int) -> None:
        self.header[HEADER[field]] = self._said[field] = value

    def add(self, field: str, count: int = 1) -> None:
        """Add `count` to a field of the header. It wraps."""
        self.header[HEADER[field]] = self.header[HEADER[field]] + count & UNKNOWN

    def describe(
        self,
        version: str,
        listeners: Sequence[str],
        counters: Sequence[str],
        name: str = layout.DEFAULT_NAME,
        handler: str = "",
    ) -> None:
        """Write the text: version, name, handler (empty: upperd's own), each listener by its number, own counters."""
        self["listeners"] = len(listeners)
        lines = (version, name, handler, *listeners, *counters)
        text = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
        room = PLACES - TEXT - 1
        self._map[TEXT:PLACES] = self._text = text[:room].ljust(room + 1, b"\0")

    def note(self, text: str) -> None:
        """Write what is wrong with the daemon at this moment; empty: nothing."""
        room = TEXT - NOTE - 1
        self._note = text.encode("utf-8", "replace")[:room].ljust(room + 1, b"\0")
        self._map[NOTE:TEXT] = self._note

    # Rows

    def claim(self) -> tuple[int, memoryview, memoryview]:
        """Take a free slot for a child about to be forked; return its number, its place, and its row.

        Raises IndexError if there is none: the caller enforces `max_children`.
        """
        slot = self._free.pop()
        place, row = self._words(PLACES + slot * PLACE_SIZE, PLACE_SIZE), self._words(ROWS + slot * ROW_SIZE, ROW_SIZE)
        place[: len(_PLACE)] = _PLACE
        row[: len(_ROW)] = _ROW
        row[_FAILURE_WORD] = 0
        self._generation += 1
        place[layout.GENERATION] = self._generation
        place[layout.STARTED] = now_usec()
        self._in_use[slot] = place, row
        return slot, place, row

    def _words(self, start: int, size: int) -> memoryview:
        return memoryview(self._map)[start : start + size].cast("Q")

    def born(self, slot: int, pid: int) -> None:
        """The child of the slot was forked."""
        self._in_use[slot][0][PID] = pid
        self.add("forked")

    def release(self, slot: int) -> None:
        """After the end of a child: add its figures to the totals and free the slot."""
        (place, row), header = self._in_use.pop(slot), self.header
        for field, total in layout.SUMMED:
            if count := row[field]:
                header[total] = header[total] + count & UNKNOWN
        place[PID] = 0
        self._free.append(slot)

    def show(self, slot: int) -> None:
        """Let the next forked process inherit this row."""
        self._map.madvise(MADV_DOFORK, ROWS + slot * ROW_SIZE, ROW_SIZE)

    def hide(self, slot: int) -> None:
        self._map.madvise(MADV_DONTFORK, ROWS + slot * ROW_SIZE, ROW_SIZE)

    def living(self) -> Iterable[tuple[memoryview, memoryview]]:
        """The place and the row of each child."""
        return self._in_use.values()

    def total(self, name: str) -> int:
        """A total of the header, with the living children."""
        field = ROW_FIELDS.index(name)
        return self[name] + sum(row[field] for _, row in self._in_use.values())

    def repair(self) -> bool:
        """Write header and text again if the file was overwritten. Returns whether it was; then totals begin at 0.

        It empties the places; each Child writes its own again (roster.py).
        """
        if self["magic"] == layout.MAGIC:
            return False
        for field, value in self._said.items():
            self.header[HEADER[field]] = value
        self._map[NOTE : NOTE + len(self._note)] = self._note
        self._map[TEXT : TEXT + len(self._text)] = self._text
        self._map[PLACES : PLACES + self._slots * PLACE_SIZE] = bytes(self._slots * PLACE_SIZE)
        return True


# The file


def _create(path: str, slots: int) -> int:
    """The descriptor of a new file."""
    _clear(path)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o640)
    try:
        os.fchmod(descriptor, 0o640)  # whatever the umask is
        os.ftruncate(descriptor, SIZE)
        os.posix_fallocate(descriptor, 0, ROWS + slots * ROW_SIZE)
        # It ends with us: a reader in any namespace sees by it that who writes the file lives (fcntl(2), F_GETLK).
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor
    except OSError:
        os.unlink(path)
        os.close(descriptor)
        raise


def _clear(path: str) -> None:
    """Remove an old scoreboard, or a link without following it. Raises OSError if something else is there."""
    refuse_other_file(path)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def refuse_other_file(path: str) -> None:
    """Raises OSError where something is at the path that is neither a scoreboard nor a link."""
    try:
        if not stat.S_ISLNK(os.lstat(path).st_mode) and not _is_scoreboard(path):
            raise FileExistsError(errno.EEXIST, "the file there is not a scoreboard", path)
    except FileNotFoundError:
        pass


def _is_scoreboard(path: str) -> bool:
    """Whether the file is a scoreboard of any version, whole or unfinished."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        mark = os.read(descriptor, 8)
        return mark in (b"", bytes(8)) or mark[:7] == layout.MAGIC.to_bytes(8, "little")[:7]
    finally:
        os.close(descriptor)
