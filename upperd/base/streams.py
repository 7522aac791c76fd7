"""Standard input, output and error, which may be closed, full, or without a reader."""

from __future__ import annotations

import errno
import os
import stat
import sys

EX_NOREADER = 141
"""The status with which a shell reports a process killed by SIGPIPE."""
EX_IOERR = 74


def open_closed() -> set[int]:
    """Open /dev/null on those of descriptors 0, 1 and 2 that are closed; return their numbers.

    Otherwise the next file or socket would get such a number, and be written to as standard output.
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
    """Open /dev/null. If that is not a device, return a descriptor that can be neither read nor written (O_PATH)."""
    try:
        descriptor = os.open(os.devnull, os.O_RDWR)
    except OSError:
        return os.open(__file__, os.O_PATH)
    if stat.S_ISCHR(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)  # a regular file would store all output
    return os.open(__file__, os.O_PATH)


def print_out(text: str) -> None:
    """Print `text` unchanged and flush it. Raises OSError; BrokenPipeError if the reader has gone."""
    try:
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # the locale may lack characters
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError:
        sys.stdout = None  # else the interpreter flushes again at exit, fails, and exits with 120
        raise


def warn(text: str) -> None:
    """Print `text` on standard error. If that fails, only the exit status reports the problem."""
    try:
        print(text, end="", file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = None  # as above


def show(program: str, text: str, *, is_closed: bool) -> int:
    """Print `text` and a newline; return the exit status. `is_closed`: standard output was closed at the start."""
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
    """Print on standard error what is wrong, on one line, and `more` on further lines."""
    try:
        from upperd.base.text import printable

        text = printable(text)
    except (OSError, ImportError):
        pass  # the problem itself may be that no file can be read
    warn("\n".join((f"{program}: {text}", *more, "")))
