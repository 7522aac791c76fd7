"""Keeps the unanswered text of a stream, so that it can be sent again on another connection.

It knows no socket and no clock. It relies on the protocol (upperd(7), "Protocol"): a newline maps to a newline and
nothing else does, no state is carried across a newline, and the same text always has the same answer. So all text
before the last newline that came back is done and dropped. The rest is sent again, and the bytes of its answer that
were output before are skipped.

In a text without newlines, a newline is inserted between two characters now and then, and removed from the answer. So
the kept text is bounded, whatever is streamed.
"""

from __future__ import annotations

from collections import deque

STRETCH = 1 << 18
"""Bytes without a newline after which one is inserted."""


class Unanswered:
    """`add` takes text, `next_block` returns the next block to send, and `answer` takes what came back."""

    def __init__(self) -> None:
        self.keeps = True
        """Whether blocks are kept after they were taken, and newlines inserted."""
        self._blocks: deque[bytes] = deque()
        """The kept text, from the block with the last answered newline on."""
        self._newlines: deque[int] = deque()
        """The number of newlines in each block."""
        self.size = 0
        """Bytes in the blocks."""
        self._taken = 0
        """Blocks that were taken to be sent."""
        self._answered = 0
        """Newlines of the first block that were answered."""
        self._since_newline = 0
        self._ours: deque[int] = deque()
        """The numbers of the inserted newlines that are still unanswered, among all newlines of the text, from 1."""
        self._count_sent = self._count_answered = 0
        self._shown = 0
        """Bytes of the answer that were output since its last newline."""
        self._to_skip = 0
        """How many of these bytes are still expected a second time."""
        self._half = b""
        """The end of the answer, if it may be part of a character. A character that the end of a connection cuts comes
        back unchanged; sent again, it comes back in upper case."""

    @property
    def missing(self) -> int:
        """How many newlines have not come back; negative: more came back than were sent."""
        return self._count_sent - self._count_answered

    @property
    def is_due(self) -> bool:
        """Whether there is unanswered text. Part of a line always counts as unanswered."""
        return bool(self.size if self.keeps else self.size or self.missing or self._since_newline)

    def stop_keeping(self) -> None:
        """From now on keep no block that was taken: the text may not be sent again."""
        self.keeps = False
        while self._taken:
            self._drop_first()

    def _drop_first(self) -> None:
        self.size -= len(self._blocks.popleft())
        self._newlines.popleft()
        self._taken -= 1

    def add(self, block: bytes) -> None:
        """Take the next block of the text; it must not be empty."""
        last = block.rfind(b"\n")
        self._since_newline = len(block) - last - 1 + (self._since_newline if last < 0 else 0)
        cut = _boundary(block) if self.keeps and self._since_newline >= STRETCH else None
        if cut is None:
            self._append(block)
        else:
            self._append(block[:cut] + b"\n", is_ours=True)
            self._since_newline = len(block) - cut
            if block[cut:]:
                self._append(block[cut:])

    def end(self) -> bool:
        """Note the end of the text. Insert a newline unless the text ends with one; return whether it was inserted."""
        if not self._since_newline:
            return False
        self._since_newline = 0
        self._append(b"\n", is_ours=True)
        return True

    def _append(self, block: bytes, *, is_ours: bool = False) -> None:
        count = block.count(b"\n")
        self._blocks.append(block)
        self._newlines.append(count)
        self._count_sent += count
        self.size += len(block)
        if is_ours:
            self._ours.append(self._count_sent)

    def next_block(self) -> bytes:
        """The data to send next; empty: none."""
        if self._taken == len(self._blocks):
            return b""
        self._taken += 1
        block = self._blocks[self._taken - 1]
        if not self.keeps:
            self._drop_first()
        return block

    def answer(self, block: bytes) -> bytes:
        """Take the next block of the answer; return the part to output."""
        block = self._half + block
        whole = len(block) - _half_length(block)
        block, self._half = block[:whole], block[whole:]
        if self._to_skip:
            skipped = min(self._to_skip, len(block))
            block = block[skipped:]
            self._to_skip -= skipped
        count = block.count(b"\n")
        self._shown = len(block) - block.rfind(b"\n") - 1 if count else self._shown + len(block)
        if count and self.keeps:
            self._forget(count)
        first = self._count_answered + 1
        self._count_answered += count
        if self._ours and self._ours[0] <= self._count_answered:
            block = self._without_ours(block, first)
        return block

    def _forget(self, count: int) -> None:
        """Count `count` more newlines as answered, and drop the blocks before the last of them."""
        self._answered += count
        while self._blocks and (
            self._answered > self._newlines[0]
            or (self._answered == self._newlines[0] and self._blocks[0].endswith(b"\n"))
        ):
            self._answered -= self._newlines[0]
            self._drop_first()

    def _without_ours(self, block: bytes, first: int) -> bytes:
        """The block without inserted newlines. `first`: the number of its first newline."""
        lines = block.split(b"\n")
        parts = [lines[0]]
        for number, line in enumerate(lines[1:], first):
            is_ours = bool(self._ours) and self._ours[0] == number
            if is_ours:
                self._ours.popleft()
            parts.append(line if is_ours else b"\n" + line)
        return b"".join(parts)

    def rewind(self) -> None:
        """Note a new connection: everything kept is sent again, and answered from its beginning."""
        if self._blocks:
            # Do not send again the answered part of the first block.
            first = self._blocks[0]
            self._blocks[0] = first.split(b"\n", self._answered)[-1]
            self.size += len(self._blocks[0]) - len(first)
            self._newlines[0] -= self._answered
        self._taken = self._answered = 0
        self._to_skip, self._half = self._shown, b""

    def rest(self) -> bytes:
        """The end of the answer that was held back, if it ended with part of a character."""
        return self._half


def _half_length(block: bytes) -> int:
    """How many bytes at the end may begin a character that continues in the next block (RFC 3629)."""
    for length in range(1, min(3, len(block)) + 1):
        byte = block[-length]
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return length if length < needed and byte < 0xF8 else 0
        if byte < 0x80:
            return 0
    return 0


def _boundary(block: bytes) -> int | None:
    """An offset near the end of the block that cuts no character: one begins, or none can continue; None: unknown."""
    for length in range(1, min(4, len(block)) + 1):
        if not 0x80 <= block[-length] < 0xC0:
            return len(block) - length
    return len(block) if len(block) >= 4 else None
