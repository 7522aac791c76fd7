"""Standard output, which may be full, or gone."""

from __future__ import annotations

import os

from upperd.commands.exits import EX_IOERR, fail


def show(text: str) -> None:
    """Print a text and a newline."""
    write_out(f"{text}\n".encode("utf-8", "replace"))


def write_out(block: bytes) -> None:
    """Write all of it, at once. Raises SystemExit(74), and says why."""
    rest = memoryview(block)
    try:
        while rest:
            rest = rest[os.write(1, rest) :]
    except OSError as error:
        raise SystemExit(fail(EX_IOERR, f"cannot write the answer: {error.strerror}")) from None
