"""`upperctl`: send text to the daemon, see whether it runs and what it does.

This is the front door: signals, closed descriptors, the command line. The commands lie in commands/, a module each,
and what a command needs is imported when it runs: `send` should not wait for what `stats` needs.
"""

from __future__ import annotations

import argparse
import signal
import sys
from importlib import import_module

from upperd import __version__
from upperd.commands.exits import EX_INTERRUPTED, EX_IOERR, EX_USAGE, fail
from upperd.streams import open_closed

COMMANDS = {
    "send": "send text, print it in upper case",
    "status": "is it running? (exit status 0: yes, 3: no)",
    "stats": "what every child does, and the totals",
}
"""Each is a module of commands/: its name, and the line of `--help` about it."""


def main() -> int:
    """`upperctl`; returns its exit status (sysexits(3); of `status`, the LSB's)."""
    # As every filter: end quietly when the reader of our output has enough, or at Ctrl-C.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    closed = open_closed()
    try:
        arguments = make_parser(sys.argv[1:]).parse_args()
        if 1 in closed:
            return fail(EX_IOERR, "standard output is closed")
        arguments.has_input = 0 not in closed
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        return EX_INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """argparse exits with 2 for a wrong line; a caller knows sysexits(3)."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(EX_USAGE, f"{self.prog}: {message}\nTry '{self.prog} --help' or man 1 upperctl.\n")


def make_parser(words: list[str]) -> argparse.ArgumentParser:
    """The parser for a command line; a command that is not in it has no options there, and is not imported."""
    parser = _Parser(
        prog="upperctl",
        description="Have text upper-cased by upperd, and see what upperd does.",
        epilog="The manual: man 1 upperctl.",
    )
    _add_address(parser, None)
    parser.add_argument("--version", action="version", version=f"upperctl {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, line in COMMANDS.items():
        command = commands.add_parser(name, help=line)
        # Suppressed: what stands before the command is not to be overwritten by what does not stand after it.
        _add_address(command, argparse.SUPPRESS)
        if name in words:
            module = import_module(f"upperd.commands.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


def _add_address(parser: argparse.ArgumentParser, default: str | None) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--socket", metavar="PATH", default=default, help="the daemon's socket")
    group.add_argument("--tcp", metavar="HOST:PORT", default=default, help="the daemon's TCP address")


if __name__ == "__main__":
    sys.exit(main())
