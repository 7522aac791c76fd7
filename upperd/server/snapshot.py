"""Reading a scoreboard from outside: what `upperctl` and others make of the file.

What a child wrote may be nonsense, and so may be the whole file: everything is clamped, or an error that says what is
wrong. The layout is layout.py's.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import compress

from upperd.server.layout import (
    HEADER,
    HEADER_FIELDS,
    LISTENERS,
    MAGIC,
    NONE,
    OUTCOMES,
    SIZE,
    SLOT_FIELDS,
    SLOTS,
    STATE_BYTES,
    STATES,
    STOPPED,
    SUMMED,
    TABLE,
    TEXT,
    UNKNOWN,
    WAITING,
    WORDS_A_SLOT,
)

_HEADER_SIZE = len(HEADER_FIELDS) * 8


class ScoreboardError(Exception):
    """The file is not a scoreboard that this version can read. The text says what is wrong."""


class Snapshot:
    """An immutable reading of a scoreboard: `header` and `children` by field name.

    The totals in `header` include those of the living. Everything is clamped: what a child wrote may be nonsense.
    """

    def __init__(self, data: bytes) -> None:
        if len(data) < SIZE:
            raise ScoreboardError(f"it has {len(data)} bytes, not {SIZE}: truncated, or not a scoreboard")
        words = memoryview(data)[:SIZE].cast("Q")
        self.header = {name: int(words[index]) for name, index in HEADER.items()}
        if self.header["magic"] != MAGIC:
            raise ScoreboardError("it does not begin with the mark of a scoreboard of version 1")
        self.header["phase"] = min(self.header["phase"], STOPPED)
        text = data[TEXT:STATES].partition(b"\0")[0].decode("utf-8", "replace").removesuffix("\n").split("\n")
        self.version = text[0] or "?"
        self.listeners = text[1:]
        self.children = list(self._living(data, words))
        for child in self.children:
            for field, total in SUMMED:
                name = HEADER_FIELDS[total]
                self.header[name] = (self.header[name] + int(child[SLOT_FIELDS[field]])) & UNKNOWN

    def _living(self, data: bytes, words: memoryview) -> Iterator[dict[str, int]]:
        states = data[STATES:TABLE][STATE_BYTES]
        # Most are FREE, which is 0, and so false.
        for index in compress(range(SLOTS), states):
            start = TABLE // 8 + index * WORDS_A_SLOT
            child = dict(zip(SLOT_FIELDS, map(int, words[start : start + len(SLOT_FIELDS)]), strict=True))
            child["slot"] = index
            child["waiting"] = int(WAITING <= states[index] < WAITING + LISTENERS)
            child["listener"] = min(child["listener"], max(len(self.listeners) - 1, 0))
            child["outcome"] = child["outcome"] if child["outcome"] < len(OUTCOMES) else NONE
            yield child

    @property
    def is_settled(self) -> bool:
        """Whether those that were forked and have not ended are those that are there: nobody is on the way."""
        born = sum(child["pid"] != 0 for child in self.children)
        return (self.header["forked"] - self.header["ended"]) & UNKNOWN == born

    @property
    def busy(self) -> int:
        """Children that serve a connection."""
        return sum(not child["waiting"] for child in self.children)

    @property
    def spare(self) -> int:
        """Children that wait for one."""
        return sum(child["waiting"] for child in self.children)


_LOOKS = 20
"""At a scoreboard whose children come and go: as many as it takes to find a moment at which none did, at 2000 a second
and more; then what was seen last."""


def read(path: str) -> Snapshot:
    """Read the scoreboard at `path`. Raises OSError, or ScoreboardError where it is something else.

    A child's figures are in its slot, then in the totals, and for an instant in both: so it is read again where a
    child has ended meanwhile. A counter that went down would be taken for that of a new daemon.
    """
    with open(path, "rb", buffering=0, opener=_open_plainly) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ScoreboardError("it is not a file: a pipe, a device or a folder")
        for _ in range(_LOOKS):
            data = os.pread(file.fileno(), SIZE, 0)
            snapshot = Snapshot(data)
            if os.pread(file.fileno(), _HEADER_SIZE, 0) == data[:_HEADER_SIZE] and snapshot.is_settled:
                break
        return snapshot


def _open_plainly(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
