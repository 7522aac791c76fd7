"""The command line of `upperctl`, but for `send TEXT...`, which ctl.py reads itself."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import NoReturn

from upperd import __version__
from upperd.ctl.exits import EX_IOERR, EX_USAGE, fail

EXAMPLES = """\
examples:
  upperctl send hello, world          upperctl status && echo it runs
  upperctl send < README.md           upperctl --tcp localhost:9999 send hi
upperctl COMMAND --help tells more; the manual is: man 1 upperctl"""


class Parser(argparse.ArgumentParser):
    """argparse exits with 2 for a wrong line; a caller knows sysexits(3)."""

    commands: tuple[str, ...] = ()
    """All that there are."""
    options: tuple[str, ...] = ()
    """Those of upperctl, and of the command of the line."""
    hint = ""
    """What to say where a word is not understood."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the line, and what may have been meant."""
        fail(EX_USAGE, f"{self._explain(message)}\nTry '{self.prog} --help' or man 1 upperctl.")
        self.exit(EX_USAGE)

    def _explain(self, message: str) -> str:
        if message.startswith("unrecognized arguments: "):
            word = message.split()[2]
            return f"{message}{_near(word, self.options) or self.hint}"
        if message.endswith("required: COMMAND"):
            return f"give a command: {', '.join(self.commands)}"
        found = re.match(r"argument COMMAND: invalid choice: '(.*?)'", message)
        if found is None:
            return message
        cure = _near(found[1].lower(), [*self.commands, "--help"])
        return f"no command {found[1]!r}{cure or f'; to have text upper-cased: upperctl send {found[1]}'}"

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Exit, having written what was printed."""
        try:
            sys.stdout.flush()
        except OSError as error:
            sys.stdout = None  # or Python complains again when it ends
            status = fail(EX_IOERR, f"cannot write: {error.strerror}")
        super().exit(status, message)


def _near(word: str, known: Iterable[str]) -> str:
    """What may have been meant, as the end of a sentence; empty: nothing of these."""
    import difflib

    near = difflib.get_close_matches(word.partition("=")[0], known, 1)
    return f"; is it {near[0]!r}?" if near else ""


def make_parser(words: list[str], commands: dict[str, str]) -> Parser:
    """The parser for a command line; a command that is not its own has no options there, and is not imported.

    `commands`: a line of help for each module of commands/.
    """
    parser = Parser(
        prog="upperctl",
        description="Have text upper-cased by upperd, and see what upperd does.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    chosen = _command(words)
    parser.commands = tuple(commands)
    parser.hint = "; a text that begins with a dash goes after --: upperctl send -- -x" if chosen == "send" else ""
    _add_address(parser, None)
    parser.add_argument("-V", "--version", action="version", version=f"upperctl {__version__}")
    parser.options = _options(parser)
    adder = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, line in commands.items():
        command = adder.add_parser(
            name,
            help=line,
            description=f"{line[0].upper()}{line[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        # Suppressed: what stands before the command is not to be overwritten by what does not stand after it.
        _add_address(command, argparse.SUPPRESS)
        if name == chosen:
            module = import_module(f"upperd.ctl.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run)
            parser.options += _options(command)
    return parser


def _options(parser: argparse.ArgumentParser) -> tuple[str, ...]:
    return tuple(option for action in parser._actions for option in action.option_strings)


def _command(words: list[str]) -> str:
    """The word of a line that is its command; empty: there is none."""
    rest = iter(words)
    for word in rest:
        if word in ("--socket", "--tcp"):
            next(rest, "")
        elif not word.startswith("-"):
            return word
    return ""


def _check_first(parser: Parser, words: list[str]) -> None:
    """An option before the command that there is not: argparse would take its value for the command, and say so."""
    known = _options(parser)
    rest = iter(words)
    for word in rest:
        if not word.startswith("--"):
            return
        if word.partition("=")[0] not in known:
            parser.error(f"unrecognized arguments: {word}")
        if word in ("--socket", "--tcp"):
            next(rest, "")


def parse(words: list[str], commands: dict[str, str]) -> argparse.Namespace:
    """Parse a command line; `run` is the command's function. Exits where there is nothing to run."""
    parser = make_parser(words, commands)
    if not words:
        parser.print_help(sys.stderr)
        parser.exit(EX_USAGE)
    _check_first(parser, words)
    arguments = parser.parse_args(words)
    if arguments.socket is not None and arguments.tcp is not None:
        parser.error("give either --socket or --tcp, not both")
    for name in ("socket", "tcp"):
        if getattr(arguments, name) == "":
            parser.error(f"--{name} is empty: leave it out to find the daemon")
    return arguments


def _add_address(parser: argparse.ArgumentParser, default: str | None) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--socket", metavar="PATH", default=default, help="the daemon's socket")
    group.add_argument("--tcp", metavar="HOST:PORT", default=default, help="the daemon's TCP address")
