"""Any bytes are a snapshot whose numbers are in range and which is shown as clean text and JSON, or an error."""

import struct

from fuzzing import fuzz, instrumented

with instrumented():
    import invariants

    from upperd.server import layout

BETWEEN = b"||"
"""Separates the parts of an input: the header, the text, the places, the rows, and the rest of the file."""


def check(data: bytes) -> None:
    """Check the scoreboard made of these parts, and the input itself as a scoreboard."""
    header, text, places, rows, more = (data.split(BETWEEN, 4) + [b""] * 4)[:5]
    invariants.check_scoreboard(invariants.scoreboard_head(header=header, text=text, places=places) + more, rows)
    invariants.check_scoreboard(data)


check.__doc__ = invariants.check_scoreboard.__doc__


def _seed(text: bytes, *pids: int) -> bytes:
    words = len(layout.HEADER_FIELDS) - 1
    header = struct.pack(f"={words}Q", *range(words))
    places = b"".join(struct.pack("=16Q", pid, *range(1, 16)) for pid in pids)
    rows = struct.pack(f"={len(layout.ROW_FIELDS)}Q", *range(len(layout.ROW_FIELDS)))
    return BETWEEN.join((header, text, places, rows))


SEEDS = [
    _seed(b"1.0\nunix:/run/upperd/upperd.sock\ntcp:[::1]:9999\nundecodable\n", 11, 12),
    _seed(b"", 0, 11),
    BETWEEN.join((b"", "1\nunix:/é\n".encode(), b"\x01", b"\xff" * 256, b"more")),
    b"",
]


def main() -> None:
    """Run the fuzzer."""
    fuzz(check, SEEDS, [BETWEEN.decode(), "\n", "\x1b[2J"], longest=1024)


if __name__ == "__main__":
    main()
