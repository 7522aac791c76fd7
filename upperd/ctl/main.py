"""`upperctl`: send text to the daemon, see whether it runs and what it does.

This is the front door: signals, closed descriptors, the command line. The commands lie in commands/, a module each,
and what a command needs is imported when it runs. `upperctl send TEXT...` is mostly the start of an interpreter, so
what it imports is counted: no argparse, not even `signal` or `socket`, which bring in more than they do here.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed does not know it
import sys

from upperd.base.streams import open_closed

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

COMMANDS = {
    "send": "send text, print it in upper case",
    "status": "is it running? (exit status 0: yes, 3: no)",
    "stats": "what every child does, and the totals",
    "top": "the children, live: what they do, and what they take",
    "ping": "does it answer, and how fast? (exit status 0: yes, 1: no)",
    "version": "the versions of upperctl and of the daemon that runs",
}
"""Each is a module of commands/: its name, and the line of `--help` about it."""


def main() -> int:
    """`upperctl`; returns its exit status (sysexits(3); of `status`, the LSB's)."""
    # As every filter: end quietly when the reader of our output has enough, or at Ctrl-C.
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    closed = open_closed()
    words = sys.argv[1:]
    try:
        plain = _find_text(words)
        if plain is not None and 1 not in closed:
            from upperd.ctl.send import send_words

            return send_words(*plain)
        return _run(words, closed)
    except KeyboardInterrupt:
        from upperd.ctl.exits import end_interrupted

        end_interrupted()


def _run(words: list[str], closed: set[int]) -> int:
    from upperd.ctl.exits import EX_IOERR, fail
    from upperd.ctl.parser import parse

    arguments = parse(words, COMMANDS)
    if 1 in closed:
        return fail(EX_IOERR, "standard output is closed")
    arguments.has_input = 0 not in closed
    return int(arguments.run(arguments))


def make_parser(words: list[str]) -> argparse.ArgumentParser:
    """The parser for a command line: see commands/parser.py."""
    from upperd.ctl import parser

    return parser.make_parser(words, COMMANDS)


def _find_text(words: list[str]) -> tuple[list[str], str | None, None] | None:
    """What a plain `[--socket PATH] send [--socket PATH] TEXT...` says, without the parser; None: it is not one."""
    socket = None
    if words[:1] == ["--socket"]:
        socket, words = words[1] if words[1:] else "-", words[2:]
    if words[:1] != ["send"]:
        return None
    words = words[1:]
    if socket is None and words[:1] == ["--socket"]:
        socket, words = words[1] if words[1:] else "-", words[2:]
    if not words or socket == "" or any(word.startswith("-") for word in (*words, socket or "")):
        return None
    return words, socket, None


if __name__ == "__main__":
    sys.exit(main())
