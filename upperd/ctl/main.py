"""`upperctl`: sends text to the daemon, and shows whether the daemon runs and what it does.

This is the entry point: signals, closed descriptors, the command line. Each command is a module beside this one, which
is imported when it runs. Most of the time of `upperctl send TEXT...` is the start of the interpreter, so it imports as
little as possible: no argparse, and neither `signal` nor `socket`, which import much themselves.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # not in typeshed
import os
import sys

from upperd.base.streams import open_closed
from upperd.ctl.output import CLOSED, closed, end_interrupted, fail


def main() -> int:
    """Run `upperctl`; return its exit status (sysexits(3); for `status`, the LSB's)."""
    # As every filter, end quietly when the reader of our output exits, or at Ctrl-C.
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    closed.update(open_closed())
    words = sys.argv[1:]
    try:
        plain = find_text(words)
        if plain is not None and 1 not in closed:
            from upperd.ctl.send import Target, send_words

            return send_words(plain[0], Target(plain[1]))
        from importlib import import_module

        from upperd.ctl.parser import parse

        arguments = parse(words)
        if 1 in closed:
            return fail(os.EX_IOERR, CLOSED)
        if arguments.tcp is not None and arguments.command not in ("send", "ping"):
            cure = f"name its socket (--socket PATH, or -n NAME), or use: upperctl --tcp {arguments.tcp} ping -c 1"
            return fail(os.EX_USAGE, f"{arguments.command} takes no --tcp: it reads the daemon's files; {cure}")
        arguments.has_input = 0 not in closed
        return int(import_module(f"upperd.ctl.{arguments.command}").run(arguments))
    except KeyboardInterrupt:
        end_interrupted()


def find_text(words: list[str]) -> tuple[list[str], str | None] | None:
    """Text and socket of a plain `[--socket PATH] send [--socket PATH] TEXT...`, without the parser; else None."""
    socket: str | None
    match words:
        case ["--socket", socket, "send", *text] | ["send", "--socket", socket, *text]:
            pass
        case ["send", *text]:
            socket = None
        case _:
            return None
    if not text or socket == "" or any(word.startswith("-") for word in (*text, socket or "")):
        return None
    return text, socket


if __name__ == "__main__":
    sys.exit(main())
