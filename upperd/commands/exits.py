"""How a command ends: its exit status (sysexits(3)), and what is said of a failure."""

from __future__ import annotations

import sys

EX_USAGE = 64
EX_NOINPUT = 66
EX_UNAVAILABLE = 69
EX_IOERR = 74
EX_NOPERM = 77
EX_INTERRUPTED = 130


def fail(status: int, text: str) -> int:
    """Say what is wrong, and what to do, on standard error; returns the exit status."""
    print(f"upperctl: {text}", file=sys.stderr)
    return status
