"""Any bytes are a snapshot with every number in its range that is shown as clean text and JSON, or an error."""

import struct

from fuzzing import fuzz, instrumented

with instrumented():
    import invariants

    from upperd.server import layout

BETWEEN = b"||"
"""Between the parts of an input: the header, the text, the states, the slots, and what the file has besides."""


def check(data: bytes) -> None:
    """Check the scoreboard of these parts, and the bytes themselves as one."""
    header, text, states, slots, more = (data.split(BETWEEN, 4) + [b""] * 4)[:5]
    invariants.check_scoreboard(invariants.scoreboard_file(header=header, text=text, states=states, slots=slots) + more)
    invariants.check_scoreboard(data)


check.__doc__ = invariants.check_scoreboard.__doc__


def _seed(text: bytes, states: bytes) -> bytes:
    words = len(layout.HEADER_FIELDS) - 1
    header = struct.pack(f"={words}Q", *range(words))
    slots = struct.pack(f"={layout.WORDS_A_SLOT}Q", *range(layout.WORDS_A_SLOT))
    return BETWEEN.join((header, text, states, slots))


STATES = struct.pack("=2Q", layout.cell(layout.BUSY, 1000), layout.WAITING + 1)
SEEDS = [
    _seed(b"1.0\nunix:/run/upperd/upperd.sock\ntcp:[::1]:9999\n", STATES),
    _seed(b"", struct.pack("=2Q", layout.FREE, layout.BUSY)),
    BETWEEN.join((b"", "1\nunix:/é\n".encode(), b"\x01", b"\xff" * 256, b"more")),
    b"",
]


def main() -> None:
    """Run the fuzzer."""
    fuzz(check, SEEDS, [BETWEEN.decode(), "\n", "\x1b[2J"], longest=1024)


if __name__ == "__main__":
    main()
