"""The upper-caser, for every text and for bytes that are no text."""

from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from invariants import model, run

from upperd.upper import transform
from upperd.upper.transform import UpperCaser

BYTES = b"\x00a\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0\xc1\xc2\xdf\xe0\xe1\xec\xed\xee\xef\xf0\xf1\xf3\xf4\xf5\xff"
"""One of each kind that the table of RFC 3629 distinguishes."""

PIECES = st.one_of(
    st.binary(max_size=8),
    st.text(max_size=8).map(str.encode),
    st.text(max_size=4).map(lambda text: text.encode()[:-1]),
    st.lists(st.sampled_from(BYTES), max_size=6).map(bytes),
)
STREAMS = st.lists(PIECES, max_size=8).map(b"".join)


def upper(*pieces: bytes) -> bytes:
    """The whole output for a stream that arrives in these pieces."""
    return run(*pieces)[0]


def can_become_valid(prefix: bytes) -> bool:
    """Whether some bytes after `prefix` make it one character: tried, not computed."""
    lead = prefix[0]
    length = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    tails = product((0x80, 0xBF), repeat=length - len(prefix))
    return any(is_valid(prefix + bytes(tail)) for tail in tails)


def is_valid(data: bytes) -> bool:
    """Whether `data` is UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def code_points() -> str:
    """Every code point that UTF-8 can carry."""
    return "".join(map(chr, (*range(0xD800), *range(0xE000, 0x110000))))


def test_every_code_point() -> None:
    """Each of the 1,112,064 code points comes out as str.upper has it."""
    every = code_points()
    assert len(every) == 1_112_064
    wrong = [char for char in every if upper(char.encode()) != char.upper().encode()]
    assert wrong == []


def test_every_code_point_in_pieces() -> None:
    """Each code point comes out the same when a read ends inside it, and is never counted."""
    data = code_points().encode()
    pieces = [data[start : start + 4099] for start in range(0, len(data), 4099)]
    assert run(*pieces) == (code_points().upper().encode(), 0)


@settings(max_examples=300, deadline=None)
@given(st.lists(STREAMS, max_size=6))
@example([b"\xed", b"\xa0", b"\x80"])
@example([b"\xf0\x9f", b"", b"\x98\x80"])
@example([b"\xe2", b"\xe2\x82", b"\xac"])
def test_cuts(pieces: list[bytes]) -> None:
    """However the stream is cut, the output and the count are those of the whole."""
    assert run(*pieces) == run(b"".join(pieces)) == model(b"".join(pieces))


@settings(max_examples=300, deadline=None)
@given(STREAMS)
def test_byte_by_byte(data: bytes) -> None:
    """A stream that arrives in single bytes gives the output and the count of the whole."""
    assert run(*(bytes((byte,)) for byte in data)) == model(data)


def test_every_short_sequence_at_every_cut() -> None:
    """All sequences of three bytes of any kind obey the law, with a cut before each of their bytes."""
    for sequence in map(bytes, product(BYTES, repeat=3)):
        expected = model(sequence)
        for cut in range(3):
            assert run(sequence[:cut], sequence[cut:]) == expected, sequence


@pytest.mark.parametrize("byte", range(0x80, 0x100))
def test_lone_byte(byte: int) -> None:
    """Between letters, a byte that is no UTF-8 on its own comes back unchanged, and is counted once."""
    lone = bytes((byte,))
    assert run(b"a" + lone + b"b") == (b"A" + lone + b"B", 1)


@pytest.mark.parametrize(
    "broken", [b"\xc0\x80", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xe2\x82"]
)
def test_undecodable_is_counted(broken: bytes) -> None:
    """In a sequence that is not UTF-8 every byte is counted, and none of the good text around it."""
    assert run("ß".encode() + broken + "é".encode()) == (b"SS" + broken + "É".encode(), len(broken))


@pytest.mark.parametrize("rest", [b"\xc3", b"\xe2", b"\xe2\x82", b"\xf0", b"\xf0\x9f", b"\xf0\x9f\x98"])
def test_unfinished_at_the_end(rest: bytes) -> None:
    """A sequence that is incomplete at the end of the stream comes out unchanged, counted byte by byte."""
    caser = UpperCaser()
    assert caser.feed(b"a" + rest) == b"A"
    assert (caser.unfinished, caser.undecodable) == (rest, 0)
    assert caser.finish() == rest
    assert (caser.unfinished, caser.undecodable) == (b"", len(rest))


@settings(max_examples=300, deadline=None)
@given(st.lists(STREAMS, max_size=4))
def test_held_back_can_become_valid(pieces: list[bytes]) -> None:
    """The bytes held back after any read are few, and can still become UTF-8."""
    caser = UpperCaser()
    for piece in pieces:
        caser.feed(piece)
        assert isinstance(caser.unfinished, bytes)
        assert len(caser.unfinished) <= 3
        assert not caser.unfinished or can_become_valid(caser.unfinished)


def test_every_pair_is_held_back_rightly() -> None:
    """Of all endings of two bytes exactly those are held back that can still become UTF-8."""
    for pair in map(bytes, product(range(0xC2, 0xF5), range(0x80, 0xC0))):
        caser = UpperCaser()
        caser.feed(pair)
        waits = not is_valid(pair) and can_become_valid(pair)
        assert caser.unfinished == (pair if waits else b""), pair


@pytest.mark.parametrize("second", range(0xA0, 0xC0))
def test_half_a_surrogate_is_not_held(second: int) -> None:
    """The beginning of an encoded surrogate comes out at once, whether it came in one read or in two."""
    half = bytes((0xED, second))
    caser = UpperCaser()
    assert caser.feed(half[:1]) + caser.feed(half[1:]) == half
    assert (caser.unfinished, caser.undecodable) == (b"", 2)
    assert UpperCaser().feed(b"a" + half) == b"A" + half


def test_all_that_is_certain_comes_at_once() -> None:
    """A line is answered as soon as it is whole, even if the next has begun inside a character."""
    caser = UpperCaser()
    assert caser.feed("straße\n".encode() + b"\xc3") == b"STRASSE\n"
    assert caser.feed(b"\xa9\n") == "É\n".encode()


def test_nothing_in() -> None:
    """An empty stream has an empty answer."""
    assert run() == run(b"", b"") == (b"", 0)


@settings(max_examples=200, deadline=None)
@given(STREAMS)
def test_newlines_are_kept(data: bytes) -> None:
    """The answer has as many newlines as the question, since clients count them."""
    assert upper(data).count(b"\n") == data.count(b"\n")


def test_below_u_0100() -> None:
    """The short cut for text below U+0100 agrees with Unicode's upper case, for every code point and all together."""
    every = [chr(code) for code in range(256)]
    for text in (*every, "".join(every), "".join(set(every) - {*"\xb5\xdf\xff"}), "\xe9\u0153", "\xe9\udce9"):
        assert transform.upper(text) == text.upper()
