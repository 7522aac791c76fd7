"""Reading a scoreboard from outside: what `upperctl` and others make of the file.

What a child wrote may be nonsense, and so may be the whole file: everything is clamped, or an error that says what is
wrong. The layout is layout.py's.
"""

from __future__ import annotations

import os
import stat
import sys

from upperd.server import layout
from upperd.server.layout import (
    HEADER,
    NOTE,
    PLACE_FIELDS,
    PLACE_SIZE,
    PLACES,
    ROW_FIELDS,
    ROWS,
    SIZE,
    SLOTS,
    TEXT,
    UNKNOWN,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_OWN = tuple(f"counter_{number}" for number in range(layout.COUNTERS))
_PARTS = {
    "refused": ("refused_access", "refused_user", "refused_rate"),
    "unanswered": ("unanswered_size", "unanswered_full"),
}
"""What is counted in all, and of that by its reason."""
_LOOKS = 20
"""At a scoreboard whose children come and go: enough, as a rule, for a moment at which none did."""


class ScoreboardError(Exception):
    """The file is not a scoreboard that this version can read. The text says what is wrong."""


class Snapshot:
    """An immutable reading of a scoreboard: `header` and `children` by field name.

    The totals in `header` include those of the children that live. A handler's own counters stand in both under their
    own names, which `counters` lists; one whose name is broken keeps that of its field: counter_0.
    """

    def __init__(self, head: bytes, rows: dict[int, bytes]) -> None:
        """`head`: what stands before the rows, as far as slots are used; `rows`: by slot, of the children that live.

        Raises ScoreboardError.
        """
        if len(head) < PLACES:
            raise ScoreboardError(f"it has {len(head)} bytes, fewer than {PLACES}: truncated, or not a scoreboard")
        words = memoryview(head)[:TEXT].cast("Q")
        self.header = {name: int(words[index]) for name, index in HEADER.items()}
        if self.header["magic"] != layout.MAGIC:
            raise ScoreboardError("it is not a scoreboard of version 3")
        self.header["phase"] = min(self.header["phase"], layout.STOPPED)
        self.note = _text(head[NOTE:TEXT])
        text = _text(head[TEXT:PLACES]).removesuffix("\n").split("\n")
        count = min(self.header["listeners"], max(len(text) - 3, 0))
        self.version = text[0] or "?"
        self.name = text[1] if len(text) > 1 else "?"
        self.handler = text[2] if len(text) > 2 else ""
        self.listeners = text[3 : 3 + count]
        self.counters = _counter_names(text[3 + count :])
        self.children = [self._child(slot, place_of(head, slot), row) for slot, row in rows.items()]
        for name in layout.SUMMED_FIELDS:
            self.header[name] = (self.header[name] + sum(child[name] for child in self.children)) & UNKNOWN
        for whole, parts in _PARTS.items():  # which may have been counted between two of our reads
            self.header[whole] = max(self.header[whole], min(sum(self.header[part] for part in parts), UNKNOWN))
        for figures in (self.header, *self.children):
            own = [figures.pop(name) for name in _OWN]
            figures.update(zip(self.counters, own, strict=False))

    def _child(self, slot: int, place: bytes, row: bytes) -> dict[str, int]:
        child = _fields(PLACE_FIELDS, place) | _fields(ROW_FIELDS, row)
        child["slot"] = slot
        child["waiting"] = int(child["handed"] == child["finished"])
        child["listener"] = min(child["listener"], max(len(self.listeners) - 1, 0))
        # Where the parent ended the connection, it is the cause; else the child tells how it ended.
        outcome = child["ending"] or child["outcome"]
        child["outcome"] = outcome if outcome < len(layout.OUTCOMES) else 0
        return child

    @property
    def is_settled(self) -> bool:
        """Whether the children that were forked and have not ended are those that have a slot."""
        return (self.header["forked"] - self.header["ended"]) & UNKNOWN == len(self.children)

    @property
    def drain_seconds(self) -> int:
        """How long the drain that is under way may still take, at least 1; 0: there is none, or it has no deadline."""
        if self.header["phase"] != layout.DRAINING or not self.header["drain_end_usec"]:
            return 0
        left = self.header["drain_end_usec"] - layout.now_usec()
        # Never more than it was given: the reader's clock may be another one (time_namespaces(7)).
        return max(1, -(-min(left, self.header["drain_timeout_usec"]) // 1_000_000))

    @property
    def busy(self) -> int:
        return sum(not child["waiting"] for child in self.children)

    @property
    def spare(self) -> int:
        return sum(child["waiting"] for child in self.children)


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")


def _fields(names: Sequence[str], data: bytes) -> dict[str, int]:
    size = len(names) * 8
    return dict(zip(names, map(int, memoryview(data[:size].ljust(size, b"\0")).cast("Q")), strict=True))


def place_of(head: bytes, slot: int) -> bytes:
    """What the parent has written of the child of a slot."""
    start = PLACES + slot * PLACE_SIZE
    return head[start : start + PLACE_SIZE]


def slots_in_use(head: bytes) -> list[int]:
    """The slots that have a child."""
    return [slot for slot in range((len(head) - PLACES) // PLACE_SIZE) if any(place_of(head, slot)[:8])]


def _counter_names(lines: list[str]) -> list[str]:
    """The names of the handler's own counters, none of which stands for a field of ours."""
    names: list[str] = []
    for own, line in zip(_OWN, lines, strict=False):
        is_usable = line.isascii() and line.isidentifier() and line not in layout.RESERVED | {"slot", "waiting", *names}
        names.append(line if is_usable else own)
    return names


def read(path: str) -> Snapshot:
    """Read the scoreboard at `path`. Raises OSError, or ScoreboardError where it is something else.

    A child's figures are in its row, then in the totals, and for an instant in both: so it is read again where a child
    has ended meanwhile. A counter that went down would be taken for that of a new daemon.
    """
    with open(path, "rb", buffering=0, opener=_open_plainly) as file:
        descriptor = file.fileno()
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ScoreboardError("it is a pipe, a device or a folder, not a file")
        if status.st_size < SIZE:
            raise ScoreboardError(f"it has {status.st_size} bytes, not {SIZE}: truncated, or not a scoreboard")
        for _ in range(_LOOKS):
            slots = int.from_bytes(os.pread(descriptor, 8, HEADER["slots"] * 8), sys.byteorder)
            head = os.pread(descriptor, PLACES + min(slots, SLOTS) * PLACE_SIZE, 0)
            places = {slot: ROWS + slot * layout.ROW_SIZE for slot in slots_in_use(head)}
            rows = {slot: os.pread(descriptor, len(ROW_FIELDS) * 8, place) for slot, place in places.items()}
            snapshot = Snapshot(head, rows)
            if snapshot.is_settled and head.startswith(os.pread(descriptor, len(HEADER) * 8, 0)):
                break
        return snapshot


def _open_plainly(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def pid_started(pid: int) -> int | None:
    """When the process started, in clock ticks since boot (proc(5), stat, field 22); None: it is gone or hidden."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None
