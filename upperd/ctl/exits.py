"""How a command ends: its exit status (sysexits(3)), and what is said of a failure."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

EX_USAGE = 64
EX_NOINPUT = 66
EX_UNAVAILABLE = 69
EX_CANTCREAT = 73
EX_IOERR = 74
EX_NOPERM = 77
EX_INTERRUPTED = 130
EX_NOREADER = 141
"""As a shell reports the end by SIGPIPE."""


def fail(status: int, text: str) -> int:
    """Say what is wrong, and what to do, on standard error; returns the exit status."""
    from upperd.ctl.terminal import Paint, has_colour

    name = Paint(has_colour(2))("upperctl:", "bold", "red")
    try:
        print(f"{name} {text}", file=sys.stderr, flush=True)
    except OSError:
        pass  # the status says it, too
    return status


def end_interrupted() -> NoReturn:
    """End as Ctrl-C ends a program that knows nothing of it: a shell sees status 130, and its loop ends, too."""
    import os
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
    os._exit(EX_INTERRUPTED)  # where the signal is blocked
