"""Describes an exception in one line that is safe for a terminal: what was raised, and where."""

from __future__ import annotations

import errno
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

_LONGEST = 500
"""Characters of an exception's text that are shown."""
_NOT_WHERE = (os.path.dirname(os.__file__), os.path.dirname(os.path.dirname(__file__)))
"""The folders of the standard library and of upperd: the cause of an exception lies in their caller."""

_REFUSED = " (does a sandbox refuse it: SystemCallFilter=, a container's seccomp profile?)"
_FULL = ": raise LimitNOFILE= (ulimit -Hn)"
_CURES = {errno.EPERM: _REFUSED, errno.ENOSYS: _REFUSED, errno.EMFILE: _FULL}


def describe(error: BaseException) -> str:
    """Such as "ValueError: text at /opt/shout/shout.py:12". Raises nothing, whatever the exception does."""
    try:
        text = _text_of(error)
    except BaseException:
        text = "(its text cannot be shown)"
    # ascii(): the text may come from a client, and loading a codec would need a descriptor.
    kind, shown = (ascii(words[:_LONGEST])[1:-1] for words in (type(error).__name__, text))
    return f"{kind}: {shown}{_place(error)}" if shown else f"{kind}{_place(error)}"


def _text_of(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return str(error.msg or "")
    if isinstance(error, OSError) and isinstance(error.strerror, str):  # without its number, which is for programs
        return error.strerror if error.filename is None else f"{error.strerror}: {error.filename!r}"
    return str(error)


def explain(error: OSError | MemoryError | ImportError) -> str:
    """Why the daemon cannot go on: what could not be done, the reason, and where there is one, the cure."""
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, ImportError):
        return str(error)
    what = str(error.filename) if error.filename is not None else _call_of(error)
    said = f"{what}: {error.strerror}" if what else f"{error.strerror}{_place(error)}"
    return f"{said}{_CURES.get(error.errno or 0, '')}"


def _call_of(error: BaseException) -> str:
    """The call that raised, as the source has it: `select.epoll()`. Empty: the source cannot be read."""
    try:
        from linecache import getline
        from traceback import extract_tb

        last = extract_tb(error.__traceback__)[-1]
        end = last.end_colno if last.end_lineno == last.lineno else None
        return getline(last.filename, last.lineno or 0)[last.colno or 0 : end].strip()
    except Exception:  # what was refused may be needed to look
        return ""


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f" at {ascii(str(error.filename))[1:-1]}:{int(error.lineno or 0)}"
    places = [(where.tb_frame.f_code.co_filename, where.tb_lineno) for where in _frames(error.__traceback__)]
    own = [place for place in places if not place[0].startswith((*_NOT_WHERE, "<frozen "))]
    for name, line in (own or places)[-1:]:
        return f" at {ascii(name)[1:-1]}:{line}"
    return ""


def _frames(where: TracebackType | None) -> list[TracebackType]:
    found = []
    while where is not None:
        found.append(where)
        where = where.tb_next
    return found


def report() -> None:
    """Write the exception that is being handled to standard error."""
    error = sys.exc_info()[1]
    if error is not None:
        os.write(2, f"<3>child {os.getpid()}: {describe(error)}\n".encode("utf-8", "backslashreplace"))
