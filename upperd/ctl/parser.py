"""The command line of `upperctl`, except `send TEXT...`, which main.py reads itself."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from collections.abc import Iterable
from functools import partial
from itertools import takewhile
from typing import Any, NoReturn

from upperd import __version__
from upperd.base import paths
from upperd.base.installation import manual
from upperd.ctl.output import fail
from upperd.ctl.rows import TOP

COMMANDS = {
    "send": "send text, print it in upper case",
    "status": "is it running? (exit status 0: yes, 3: no)",
    "stats": "what every child does, and the totals",
    "top": "the children, live: what they do, and what they take",
    "ping": "does it answer, and how fast? (exit status 0: yes, 1: no)",
    "version": "the versions of upperctl and of the daemon that runs",
}
"""Each is a module beside this one: its name, and the line of `--help` about it."""
EXAMPLES = {
    "": """\
examples:
  upperctl send hello, world          upperctl --tcp localhost:9999 send hi
upperctl COMMAND --help tells more; the manual is: MANUAL""",
    "send": """\
examples:
  upperctl send hello, world          the words, as one line
  upperctl send                       on a terminal: a prompt, until Ctrl-D
  upperctl send --file README.md > README.upper
  tail -f log | upperctl send         each line at once, as it comes
  upperctl send -- --help             what begins with a dash goes after --""",
    "status": "examples:\n  upperctl status && echo it runs\n  upperctl --socket /run/other/upperd.sock status",
    "stats": """\
examples:
  upperctl stats --watch                   again every 2 seconds, until Ctrl-C
  upperctl stats --json | jq .connections
  upperctl stats --prometheus --output /var/lib/node_exporter/upperd.prom""",
    "top": """\
keys:
  q  quit                 left, right (or <, >)  sort by another column
  r  reverse the order    up, down (or k, j), page up, page down  scroll
  space  pause            + -  look less often, more often

examples:
  upperctl top --sort mem
  upperctl top --once | head""",
    "ping": """\
examples:
  upperctl ping                 until Ctrl-C
  upperctl ping -c 1 -q -W 2    for health checks: 0 it answers, 1 not""",
    "version": "example:\n  upperctl version     after an upgrade: does the new one run already?",
}
"""What stands below the help: of upperctl, and of each command."""


class Parser(argparse.ArgumentParser):
    """argparse exits with 2 for a wrong line; a caller knows sysexits(3)."""

    def __init__(self, **more: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **more)
        address = self.add_mutually_exclusive_group()
        # Suppressed: what stands before the command is not overwritten by what does not stand after it.
        for name, metavar, text in (("socket", "PATH", "socket"), ("tcp", "HOST:PORT", "TCP address")):
            address.add_argument(f"--{name}", metavar=metavar, default=argparse.SUPPRESS, help=f"the daemon's {text}")
        address.add_argument("-n", dest="name", metavar="NAME", default=argparse.SUPPRESS, help="the daemon's name")

    def options(self) -> list[str]:
        """Every option: -h, --socket."""
        return [option for action in self._actions for option in action.option_strings]

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the line, and what may have been meant."""
        if found := re.match(r"argument COMMAND: invalid choice: '(.*?)'", message):
            cure = _near(found[1].lower(), [*COMMANDS, "--help"])
            message = f"no command {found[1]!r}{cure or f'; to have text upper-cased: upperctl send {found[1]}'}"
        elif message.endswith("required: COMMAND"):
            message = f"give a command: {', '.join(COMMANDS)}"
        self.exit(fail(os.EX_USAGE, f"{message}\nTry '{self.prog} --help' or {manual(1, 'upperctl')}."))


def parse(words: list[str]) -> argparse.Namespace:
    """Parse a command line; `command` is that of COMMANDS. Exits where there is nothing to run."""
    parser, commands = make_parser()
    if not words:
        parser.print_help(sys.stderr)
        parser.exit(os.EX_USAGE)
    # Of an option before the command that there is not, argparse would take the value for the command.
    before = [word for word in takewhile(lambda word: word not in COMMANDS, words) if re.match(r"--\w", word)]
    if wrong := [word for word in before if word.partition("=")[0] not in parser.options()]:
        parser.error(f"unrecognized arguments: {wrong[0]}{_near(wrong[0], parser.options())}")
    arguments, unknown = parser.parse_known_args(words, argparse.Namespace(socket=None, tcp=None, name=None))
    if unknown:
        cure = _near(unknown[0], [*parser.options(), *commands[arguments.command].options()])
        if not cure and arguments.command == "send":
            cure = "; a text that begins with a dash goes after --: upperctl send -- -x"
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{cure}")
    said = {"--socket": arguments.socket, "--tcp": arguments.tcp, "-n": arguments.name}
    given = [flag for flag, value in said.items() if value is not None]
    if len(given) > 1:
        parser.error(f"give either {given[0]} or {given[1]}, not both")
    for flag in given:
        if said[flag] == "":
            parser.error(f"{flag} is empty: leave it out to find the daemon")
    if arguments.name is not None:
        if not paths.is_name(arguments.name):
            parser.error(f"no daemon can be called {arguments.name!r}: a name is PROGRAM, or PROGRAM@INSTANCE")
        arguments.socket = paths.named_socket(dict(os.environ), os.geteuid(), arguments.name)
    return arguments


def _near(word: str, known: Iterable[str]) -> str:
    """What may have been meant, as the end of a sentence; empty: nothing of these."""
    near = difflib.get_close_matches(word.partition("=")[0], known, 1)
    return f"; is it {near[0]!r}?" if near else ""


def make_parser() -> tuple[Parser, dict[str, Parser]]:
    """The parser of the whole line, and that of each command."""
    purpose = "Have text upper-cased by upperd, and see what upperd does."
    epilog = EXAMPLES[""].replace("MANUAL", manual(1, "upperctl"))
    usage = "upperctl [--socket PATH | --tcp HOST:PORT | -n NAME] COMMAND ..."
    parser = Parser(prog="upperctl", usage=usage, description=purpose, epilog=epilog)
    parser.add_argument("-V", "--version", action="version", version=f"upperctl {__version__}")
    adder = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    commands = {
        name: adder.add_parser(
            name, prog=f"upperctl {name}", help=line, description=f"{line[0].upper()}{line[1:]}.", epilog=EXAMPLES[name]
        )
        for name, line in COMMANDS.items()
    }
    _add_options(**commands)
    return parser, commands


def _add_options(send: Parser, status: Parser, stats: Parser, top: Parser, ping: Parser, **_: Parser) -> None:
    send.add_argument("text", nargs="*", metavar="TEXT", help="the text; with none, standard input is sent")
    send.add_argument("--file", metavar="FILE", help="send this file (-: standard input)")

    status.add_argument("--json", action="store_true", help="one JSON object, for programs")

    form = stats.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object, for programs")
    form.add_argument("--prometheus", action="store_true", help="Prometheus's text format")
    stats.add_argument("--output", metavar="FILE", help="with --prometheus: replace FILE, in one step")
    text, seconds = "again and again: every 2 seconds, or so many", partial(_seconds, 0.1, 86400)
    stats.add_argument("--watch", metavar="SECONDS", nargs="?", type=seconds, const=2.0, help=text)

    top.add_argument("--sort", metavar="FIELD", choices=tuple(TOP), default="rate", help=", ".join(TOP))
    seconds = partial(_seconds, 0.1, 3600)
    top.add_argument("--interval", metavar="SECONDS", type=seconds, default=1.0, help="between looks, else 1")
    top.add_argument("--once", action="store_true", help="print one picture and end")

    ping.add_argument("-c", dest="count", metavar="COUNT", type=_count, help="end after so many; else at Ctrl-C")
    for letter, name, default, text in (
        ("-i", "interval", 1.0, "from one to the next, else 1"),
        ("-W", "timeout", 10.0, "wait so long for an answer, else 10"),
    ):
        seconds = partial(_seconds, 0.01, 86400)
        ping.add_argument(letter, dest=name, metavar="SECONDS", type=seconds, default=default, help=text)
    ping.add_argument("-q", dest="is_quiet", action="store_true", help="the summary only")


def _seconds(least: float, most: float, text: str) -> float:
    value = float(text)
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"SECONDS is {least:g} to {most:g}")
    return value


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**9):
        raise argparse.ArgumentTypeError("COUNT is 1 or more")
    return int(text)
