"""The output of a command and its end: standard output, which may be full, slow or gone; colours, errors, exit status.

`upperctl send TEXT` imports this module, so it imports only `os` and `upperd.base.streams`.
"""

from __future__ import annotations

import os

from upperd.base.streams import EX_NOREADER, print_out, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

EX_INTERRUPTED = 130
closed: set[int] = set()
"""Which of the descriptors 0, 1 and 2 were closed when we were started."""

CLOSED = "standard output is closed"
_STYLES = {"bold": 1, "dim": 2, "red": 31, "green": 32, "yellow": 33}
"""The styles of ECMA-48 (SGR) that every terminal has."""


def is_capable(descriptor: int) -> bool:
    """Whether the descriptor is a terminal that understands control sequences."""
    return os.isatty(descriptor) and os.environ.get("TERM", "dumb") not in ("", "dumb")


def has_colour(descriptor: int) -> bool:
    """Whether to use colours: on a terminal, unless NO_COLOR is set (no-color.org)."""
    return is_capable(descriptor) and not os.environ.get("NO_COLOR")


class Paint:
    """Styles text, or leaves it unchanged if colours are off."""

    def __init__(self, is_on: bool = False) -> None:
        self.is_on = is_on

    def __call__(self, text: str, *styles: str) -> str:
        """The text in these styles, such as "bold", "red"."""
        codes = ";".join(str(_STYLES[style]) for style in styles)
        return f"\x1b[{codes}m{text}\x1b[0m" if self.is_on and text and styles else text


PLAIN = Paint()
"""Leaves all text unchanged."""


def pause(seconds: float) -> None:
    """Wait for so many seconds. Ctrl-C ends the wait with KeyboardInterrupt."""
    import select

    select.select([], [], [], max(0.0, seconds))


def show(text: str) -> None:
    """Print a text and a newline."""
    write_out(f"{text}\n".encode("utf-8", "replace"))


def write_out(block: bytes) -> None:
    """Write the whole block, unbuffered. On an error says why and raises SystemExit(74); 141 if the reader has gone."""
    rest = memoryview(block)
    while rest:
        try:
            rest = rest[os.write(1, rest) :]
        except BlockingIOError:  # another program may have made the descriptor non-blocking
            import select

            select.select([], [1], [])
        except BrokenPipeError:
            raise SystemExit(EX_NOREADER) from None
        except OSError as error:
            raise SystemExit(_cannot_write(error)) from None


def show_help(text: str) -> None:
    """Print the parser's text, such as --help. Raises SystemExit as `write_out`, also if standard output is closed."""
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
    """Say on standard error what is wrong and what to do; return the exit status."""
    say(text, "bold", "red")
    return status


def say(text: str, *styles: str) -> None:
    """Print a message of upperctl on standard error. `styles`: of the prefix."""
    warn(f"{Paint(has_colour(2))('upperctl:', *styles)} {text}\n")


def end_interrupted() -> NoReturn:
    """End by SIGINT, as a program without a handler does: the shell reports 130, and ends its loop as well."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
    os._exit(EX_INTERRUPTED)  # reached if the signal is blocked
