"""A child's own row of the scoreboard: what the child counts, and when something last moved.

The law: it runs in the child, the only writer of these fields. It counts in numbers of its own and writes them down, so
whatever was written over the file does not come back.
"""

from __future__ import annotations

from time import monotonic_ns

from upperd.server import layout
from upperd.server.layout import ACTIVE, BYTES_IN, BYTES_OUT, CONNECTIONS, FINISHED, MESSAGES, OUTCOME, Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Row:
    __slots__ = ("_begun", "_bytes_in", "_bytes_out", "_counters", "_finished", "_messages", "words")

    def __init__(self, words: memoryview, counters: Sequence[str] = ()) -> None:
        """`words`: the page of the child; `counters`: the names of the handler's own counters."""
        self.words = words
        self._counters = {name: layout.FIRST_COUNTER + place for place, name in enumerate(counters)}
        self._begun = self._finished = self._messages = self._bytes_in = self._bytes_out = 0

    def begin(self) -> None:
        """A connection begins. Before any code of the handler runs: from now on nobody else may serve it."""
        words = self.words
        words[OUTCOME] = Outcome.NONE
        words[ACTIVE] = monotonic_ns() // 1000
        self._begun += 1
        words[CONNECTIONS] = self._begun

    def finish(self, outcome: int) -> None:
        """The connection is over, in this way, unless another was noted before."""
        words = self.words
        if words[OUTCOME] == Outcome.NONE:
            words[OUTCOME] = outcome

    def release(self) -> None:
        """Nothing more is done for the connection: the parent may hand over the next one."""
        self._finished += 1
        self.words[FINISHED] = self._finished

    def received(self, size: int) -> None:
        """A message of `size` bytes came in: as much as one read returned."""
        words = self.words
        self._messages += 1
        self._bytes_in += size
        words[MESSAGES] = self._messages
        words[BYTES_IN] = self._bytes_in
        words[ACTIVE] = monotonic_ns() // 1000

    def sent(self, size: int) -> None:
        words = self.words
        self._bytes_out += size
        words[BYTES_OUT] = self._bytes_out
        words[ACTIVE] = monotonic_ns() // 1000

    def ended_by_size(self) -> None:
        self.words[OUTCOME] = Outcome.BYTES
        self._add(layout.ENDED_BYTES)

    def unanswered(self, *, too_long: bool = False, queue_full: bool = False) -> None:
        """An answer to a datagram could not be sent, for one of these reasons or another."""
        self.words[OUTCOME] = Outcome.UNANSWERED
        self._add(layout.UNANSWERED)
        if too_long:
            self._add(layout.UNANSWERED_SIZE)
        if queue_full:
            self._add(layout.UNANSWERED_FULL)

    def count(self, name: str, count: int = 1) -> None:
        """Count `count` more of the handler's own counter `name`. Raises KeyError: the class does not declare it."""
        self._add(self._counters[name], count)

    def _add(self, field: int, count: int = 1) -> None:
        self.words[field] = self.words[field] + count & layout.UNKNOWN
