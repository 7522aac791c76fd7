"""A child's own row of the scoreboard: what the child counts, and when something last moved.

The law: it runs in the child, the only writer of these fields. A counter wraps, so whatever something else has written
over it does no harm.
"""

from __future__ import annotations

from time import monotonic_ns

from upperd.server import layout
from upperd.server.layout import ACTIVE, BYTES_IN, BYTES_OUT, CONNECTIONS, FINISHED, MESSAGES, OUTCOME, UNKNOWN

_FAILURE_WORD = layout.FAILURE // 8
_LONGEST_FAILURE = layout.ROW_SIZE - layout.FAILURE - 8
"""Bytes."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Row:
    __slots__ = ("_counters", "words")

    def __init__(self, words: memoryview, counters: Sequence[str] = ()) -> None:
        """`words`: the page of the child; `counters`: the names of the handler's own counters."""
        self.words = words
        self._counters = counters

    def begin(self) -> None:
        """A connection begins. Before any code of the handler runs: from now on nobody else may serve it."""
        words = self.words
        words[OUTCOME] = 0
        words[ACTIVE] = monotonic_ns() // 1000
        words[CONNECTIONS] = words[CONNECTIONS] + 1 & UNKNOWN

    def finish(self, outcome: int) -> None:
        """The connection is over, in this way, unless another was noted before."""
        words = self.words
        words[OUTCOME] = words[OUTCOME] or outcome

    def release(self) -> None:
        """Nothing more is done for the connection: the parent may hand over the next one."""
        self.words[FINISHED] = self.words[CONNECTIONS]

    def received(self, size: int) -> None:
        """A message of `size` bytes came in: as much as one read returned."""
        words = self.words
        words[MESSAGES] = words[MESSAGES] + 1 & UNKNOWN
        words[BYTES_IN] = words[BYTES_IN] + size & UNKNOWN
        words[ACTIVE] = monotonic_ns() // 1000

    def sent(self, size: int) -> None:
        words = self.words
        words[BYTES_OUT] = words[BYTES_OUT] + size & UNKNOWN
        words[ACTIVE] = monotonic_ns() // 1000

    def ended_by_size(self) -> None:
        self.words[OUTCOME] = layout.Outcome.BYTES
        self._add(layout.ENDED_BYTES)

    def unanswered(self, *, too_long: bool = False, queue_full: bool = False) -> None:
        """An answer to a datagram could not be sent, for one of these reasons or another."""
        self.words[OUTCOME] = layout.Outcome.UNANSWERED
        self._add(layout.UNANSWERED)
        if too_long:
            self._add(layout.UNANSWERED_SIZE)
        if queue_full:
            self._add(layout.UNANSWERED_FULL)

    def failed(self, text: str) -> None:
        """The child ends because of an exception: `text` says which. The first one stays."""
        if not self.words[_FAILURE_WORD]:
            data = text.encode("ascii", "backslashreplace")[:_LONGEST_FAILURE]
            memoryview(self.words[_FAILURE_WORD:]).cast("B")[: len(data) + 1] = data + b"\0"

    def count(self, name: str, count: int = 1) -> None:
        """Count `count` more of the handler's own counter `name`, which its class declares in `counters`.

        Raises ValueError: it does not, or `count` is negative.
        """
        if name not in self._counters:
            raise ValueError(f"no counter {name!r}: the handler's class declares {', '.join(self._counters) or 'none'}")
        if not isinstance(count, int) or count < 0:
            raise ValueError(f"counter {name!r}: cannot add {count!r}: it must be a whole number, 0 or more")
        self._add(layout.FIRST_COUNTER + self._counters.index(name), count)

    def _add(self, field: int, count: int = 1) -> None:
        self.words[field] = self.words[field] + count & UNKNOWN


def failure_of(words: memoryview) -> str:
    """What a child has said with `Row.failed`, or whatever stands there in its stead; empty: nothing."""
    if not words[_FAILURE_WORD]:
        return ""
    return bytes(words[_FAILURE_WORD:]).partition(b"\0")[0].decode("ascii", "backslashreplace")[: _LONGEST_FAILURE // 2]
