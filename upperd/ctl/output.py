"""What a command says and how it ends: standard output, which may be full, slow or gone; colours; errors; statuses.

`upperctl send TEXT` imports this, so it imports no more than `os` and `sys`.
"""

from __future__ import annotations

import os

from upperd.base.streams import EX_NOREADER, print_out, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

EX_INTERRUPTED = 130
closed: set[int] = set()
"""Which of 0, 1 and 2 were closed when we were started."""

CLOSED = "standard output is closed"
_STYLES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33}
"""Those of ECMA-48 (SGR) that every terminal has."""


def is_capable(descriptor: int) -> bool:
    """Whether there is a terminal that can do more than print."""
    return os.isatty(descriptor) and os.environ.get("TERM", "dumb") not in ("", "dumb")


def has_colour(descriptor: int) -> bool:
    """Whether colours are wanted there: on a terminal, unless NO_COLOR says otherwise (no-color.org)."""
    return is_capable(descriptor) and not os.environ.get("NO_COLOR")


class Paint:
    """Gives a text a colour, or leaves it as it is where none is wanted."""

    def __init__(self, is_on: bool = False) -> None:
        self.is_on = is_on

    def __call__(self, text: str, *styles: str) -> str:
        """The text in these styles: bold, red."""
        codes = ";".join(str(_STYLES[style]) for style in styles)
        return f"\x1b[{codes}m{text}\x1b[0m" if self.is_on and text and styles else text


PLAIN = Paint()
"""Colours nothing."""


def pause(seconds: float) -> None:
    """Wait so long. Ctrl-C ends it, as KeyboardInterrupt."""
    import select

    select.select([], [], [], max(0.0, seconds))


def show(text: str) -> None:
    """Print a text and a newline."""
    write_out(f"{text}\n".encode("utf-8", "replace"))


def write_out(block: bytes) -> None:
    """Write all of it, at once. Raises SystemExit(74), and says why; (141) where the reader has gone."""
    rest = memoryview(block)
    while rest:
        try:
            rest = rest[os.write(1, rest) :]
        except BlockingIOError:  # another program may have made it one that does not wait
            import select

            select.select([], [1], [])
        except BrokenPipeError:
            raise SystemExit(EX_NOREADER) from None
        except OSError as error:
            raise SystemExit(_cannot_write(error)) from None


def show_help(text: str) -> None:
    """Print what the parser has to say. Raises SystemExit as above."""
    try:
        if 1 not in closed:
            return print_out(text)
    except BrokenPipeError:
        raise SystemExit(EX_NOREADER) from None
    except OSError as error:
        raise SystemExit(_cannot_write(error)) from None
    raise SystemExit(fail(os.EX_IOERR, CLOSED))


def _cannot_write(error: OSError) -> int:
    return fail(os.EX_IOERR, f"cannot write to standard output: {error.strerror}")


def fail(status: int, text: str) -> int:
    """Say what is wrong, and what to do, on standard error; returns the exit status."""
    say(text, "bold", "red")
    return status


def say(text: str, *styles: str) -> None:
    """Say something of ours on standard error."""
    warn(f"{Paint(has_colour(2))('upperctl:', *styles)} {text}\n")


def end_interrupted() -> NoReturn:
    """End as Ctrl-C ends a program that knows nothing of it: a shell sees status 130, and its loop ends, too."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
    os._exit(EX_INTERRUPTED)  # where the signal is blocked
