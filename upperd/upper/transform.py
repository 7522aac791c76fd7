"""The streaming upper-caser: bytes in, upper-cased bytes out.

The law of this file: no socket, no clock, no log. What comes out depends on the bytes that went in and never
on how they were cut, because Unicode's full default case mapping (The Unicode Standard, 3.13 "Default Case
Algorithms", `toUppercase`; Python's `str.upper`) looks at one code point at a time. So the only state is the
beginning of a UTF-8 sequence (RFC 3629) whose next byte has not come yet: at most three bytes.

A byte that is not UTF-8 comes back as it is, and is counted. It passes through `str` as a lone surrogate (PEP 383,
`surrogateescape`), which has no upper case and turns back into its byte.
"""

from __future__ import annotations

from codecs import utf_8_decode

_LATIN_1 = bytes(range(256)).decode("latin-1").replace("\xb5", " ").replace("\xdf", " ").replace("\xff", " ").upper()
_LATIN_1_TABLE = _LATIN_1.encode("latin-1")
"""The upper case of every code point below U+0100 whose upper case is there, too: all but these three."""
_ELSEWHERE = (b"\xb5", b"\xdf", b"\xff")


def upper(text: str) -> str:
    """As str.upper(). Text that is all below U+0100 goes by way of Latin-1, where it takes half of the time."""
    try:
        narrow = text.encode("latin-1")
    except UnicodeEncodeError:
        return text.upper()
    if any(byte in narrow for byte in _ELSEWHERE):
        return text.upper()
    return narrow.translate(_LATIN_1_TABLE).decode("latin-1")


class UpperCaser:
    """Upper-cases one stream. `feed` it what arrives, `finish` it at the end of file."""

    __slots__ = ("undecodable", "unfinished")

    def __init__(self) -> None:
        self.unfinished = b""
        """What is held back because the sequence that it begins is not complete: 0 to 3 bytes."""
        self.undecodable = 0
        """How many bytes were not UTF-8 so far."""

    def feed(self, data: bytes) -> bytes:
        """Take the next `data` of the stream; return all of the output that is certain by now."""
        if self.unfinished:
            data = self.unfinished + data
            self.unfinished = b""
        if data.isascii():
            return data.upper()  # five times as fast
        return self._feed_utf8(data, False)

    def finish(self) -> bytes:
        """Return what was held back, unchanged: the stream ended inside a sequence."""
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
        # Text that was UTF-8 has no surrogates, so what `ignore` leaves out are the broken bytes.
        self.undecodable += len(text) - len(text.encode("utf-8", "ignore").decode())
        return text.upper().encode("utf-8", "surrogateescape") + self._hold_back(data[consumed:])

    def _hold_back(self, rest: bytes) -> bytes:
        if len(rest) == 2 and b"\xed\xa0" <= rest <= b"\xed\xbf":
            # Half a surrogate can never become UTF-8, but the codec waits for its third byte (bpo-24214).
            self.undecodable += 2
            return rest
        self.unfinished = rest
        return b""
