"""What was read of a stream and is not known to be answered, so that it can be sent again on another connection.

The law: no socket, no clock. It stands on what the protocol promises (upperd(7), "Protocol"): a newline maps to a
newline and nothing else does, after a newline nothing is left of what was before, and the same text has the same
answer. So what precedes the last newline that has come back is done with; the rest is sent again, and of its answer as
many bytes are skipped as were handed on before.

Where no newline comes for long, one is put between two characters, and taken out of the answer: so what is kept has a
bound, whatever is streamed.
"""

from __future__ import annotations

from collections import deque

STRETCH = 1 << 18
"""Bytes after which a text without a newline gets one of ours."""


class Unanswered:
    """The text is `add`ed, blocks of it are taken by `next_block`, their answer is handed to `answer`."""

    def __init__(self) -> None:
        self.keeps = True
        """Whether what was taken is kept, and newlines of ours are put in."""
        self._blocks: deque[bytes] = deque()
        """From that with the last newline which was answered on."""
        self._newlines: deque[int] = deque()
        """How many each of them has."""
        self.size = 0
        """Bytes that are kept."""
        self._taken = 0
        """How many blocks were taken to be sent."""
        self._answered = 0
        """How many newlines of the first one were answered."""
        self._since_newline = 0
        self._ours: deque[int] = deque()
        """Which newlines are ours, of all that are sent or answered, from 1 on."""
        self._count_sent = self._count_answered = 0
        self._shown = 0
        """Bytes of the answer that were handed on since its last newline."""
        self._to_skip = 0
        """How many of them come once more."""
        self._half = b""
        """The end of the answer, if it may be half a character: one that was cut comes back as it is at the end of a
        connection, and in upper case when it is sent again."""

    @property
    def missing(self) -> int:
        """How many newlines have not come back; below 0: more have come than were sent."""
        return self._count_sent - self._count_answered

    @property
    def is_due(self) -> bool:
        """Whether there is text that is not known to be answered: half a line never is."""
        return bool(self.size if self.keeps else self.size or self.missing or self._since_newline)

    def stop_keeping(self) -> None:
        """From now on keep only what is not taken: nothing of this may be sent a second time."""
        self.keeps = False
        while self._taken:
            self._drop_first()

    def _drop_first(self) -> None:
        self.size -= len(self._blocks.popleft())
        self._newlines.popleft()
        self._taken -= 1

    def add(self, block: bytes) -> None:
        """Take the next block of the text, which is not empty."""
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
        """The text ends here: it gets a newline of ours, unless it ends with one. Returns whether it did."""
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
        """Take the next block of the answer; returns the part for the caller."""
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
        """So many more newlines are answered: what stands before the last one is done with."""
        self._answered += count
        while self._blocks and (
            self._answered > self._newlines[0]
            or (self._answered == self._newlines[0] and self._blocks[0].endswith(b"\n"))
        ):
            self._answered -= self._newlines[0]
            self._drop_first()

    def _without_ours(self, block: bytes, first: int) -> bytes:
        """The block, whose first newline has this number, without those that we have put there."""
        lines = block.split(b"\n")
        parts = [lines[0]]
        for number, line in enumerate(lines[1:], first):
            is_ours = bool(self._ours) and self._ours[0] == number
            if is_ours:
                self._ours.popleft()
            parts.append(line if is_ours else b"\n" + line)
        return b"".join(parts)

    def rewind(self) -> None:
        """The connection is another one: everything kept is sent again, and its answer begins anew."""
        if self._blocks:
            # What was answered of the first block is not sent again.
            first = self._blocks[0]
            self._blocks[0] = first.split(b"\n", self._answered)[-1]
            self.size += len(self._blocks[0]) - len(first)
            self._newlines[0] -= self._answered
        self._taken = self._answered = 0
        self._to_skip, self._half = self._shown, b""

    def rest(self) -> bytes:
        """The end of an answer that ended with half a character."""
        return self._half


def _half_length(block: bytes) -> int:
    """How many bytes at the end may be the beginning of a longer character (RFC 3629)."""
    for length in range(1, min(3, len(block)) + 1):
        byte = block[-length]
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return length if length < needed and byte < 0xF8 else 0
        if byte < 0x80:
            return 0
    return 0


def _boundary(block: bytes) -> int | None:
    """Where in the block, near its end, no character is cut: one begins there, or none can go on; None: not known."""
    for length in range(1, min(4, len(block)) + 1):
        if not 0x80 <= block[-length] < 0xC0:
            return len(block) - length
    return len(block) if len(block) >= 4 else None
