"""The kept part of a stream: whatever becomes of its connections, the answer is whole and comes once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from upperd.client import unanswered
from upperd.client.unanswered import Unanswered
from upperd.upper.transform import UpperCaser

PARTS = ("a", "\n", "ß", "ÿ", "€", "𐐨", "zz\n")
PIECES = st.one_of(
    st.sampled_from([part.encode() for part in PARTS]),
    st.sampled_from([b"\xff", b"\xc3", b"\xe2\x82", b"\x9f", b"\x80" * 5]),
)


class Wire:
    """A connection to upperd, which may be cut, or ended by a drain, which answers what was taken."""

    def __init__(self, text: Unanswered) -> None:
        self._text = text
        self._connect()
        self.answer = b""

    def _connect(self) -> None:
        self._caser, self._coming = UpperCaser(), b""

    def send(self) -> None:
        while block := self._text.next_block():
            self._coming += self._caser.feed(block)

    def receive(self, count: int) -> None:
        block, self._coming = self._coming[:count], self._coming[count:]
        if block:
            self.answer += self._text.answer(block)

    def end(self, count: int, *, is_drain: bool) -> None:
        if is_drain:
            self._coming += self._caser.finish()
            count = len(self._coming)
        self.receive(count)
        self._connect()
        self._text.rewind()


STEPS = st.lists(st.tuples(st.sampled_from(["add", "send", "receive", "cut", "drain"]), st.integers(1, 9)), max_size=60)


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=40).map(b"".join), STEPS)
def test_answer_is_whole_and_comes_once(data: bytes, steps: list[tuple[str, int]]) -> None:
    """However a text is cut, and whenever its connections end, the result is its upper case, once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unanswered, "STRETCH", 12)
        text = Unanswered()
        wire = Wire(text)
        rest = data
        for step, count in steps:
            if step == "add" and rest:
                text.add(rest[:count])
                rest = rest[count:]
            elif step == "send":
                wire.send()
            elif step == "receive":
                wire.receive(count)
            elif step in ("cut", "drain"):
                wire.end(count, is_drain=step == "drain")
        if rest:
            text.add(rest)
        text.end()
        wire.send()
        wire.receive(1000)
    caser = UpperCaser()
    assert wire.answer + text.rest() == caser.feed(data) + caser.finish()
    assert (text.missing, text.size, text.is_due) == (0, 0, False)


def test_what_is_kept_has_a_bound() -> None:
    """A text without a newline is kept for a stretch, and no more, since newlines are inserted into it."""
    text = Unanswered()
    wire = Wire(text)
    for _ in range(100):
        text.add(b"x" * 65536)
        wire.send()
        wire.receive(1 << 20)
        assert text.size <= unanswered.STRETCH + 65536
    assert wire.answer == b"X" * 65536 * 100


def test_what_may_not_be_repeated_is_not_kept() -> None:
    """A text for another handler is not kept, and no newline is inserted into it."""
    text = Unanswered()
    text.stop_keeping()
    for _ in range(10):
        text.add(b"x" * 65536)
        assert text.next_block() == b"x" * 65536
        assert text.size == 0
    assert text.is_due
