"""Standard input, output and error: where they are closed, full, or without a reader."""

from __future__ import annotations

import errno
import os
import stat
import sys

EX_NOREADER = 141
"""As a shell reports the end by SIGPIPE."""
EX_IOERR = 74


def open_closed() -> set[int]:
    """Take the place of those of 0, 1 and 2 that are closed; returns their numbers.

    The next thing that is opened would get such a number, and be taken for standard output: a lock, a connection.
    """
    closed = set()
    while (descriptor := open_null()) <= 2:
        os.set_inheritable(descriptor, True)
        closed.add(descriptor)
    os.close(descriptor)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    return closed


def open_null() -> int:
    """Open /dev/null. Where it is not what it should be, return a descriptor that can be neither read nor written."""
    try:
        descriptor = os.open(os.devnull, os.O_RDWR)
    except OSError:
        return os.open(__file__, os.O_PATH)
    if stat.S_ISCHR(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)  # a file, which would keep all that is written
    return os.open(__file__, os.O_PATH)


def print_out(text: str) -> None:
    """Print it as it is, at once. Raises OSError; BrokenPipeError: the reader has gone."""
    try:
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # in the C locale it may know no letter
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        sys.stdout = None  # else the interpreter tries again at its end, and exits with 120
        raise


def warn(text: str) -> None:
    """Print it on standard error; if that fails, the exit status has to tell."""
    try:
        print(text, end="", file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = None  # as above


def show(program: str, text: str, *, is_closed: bool) -> int:
    """Print a text; returns the exit status."""
    try:
        if is_closed:
            raise OSError(errno.EBADF, "it is closed")
        print_out(f"{text}\n")
        return 0
    except BrokenPipeError:
        return EX_NOREADER
    except OSError as error:
        complain(program, f"cannot write to standard output: {error.strerror}")
        return EX_IOERR


def complain(program: str, text: str, *more: str) -> None:
    """Say on standard error what is wrong, on one line, and `more` on others."""
    try:
        from upperd.base.text import printable

        text = printable(text)
    except (OSError, ImportError):
        pass  # what is complained of may be that nothing can be read
    warn("\n".join((f"{program}: {text}", *more, "")))
