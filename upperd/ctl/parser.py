"""The command line of `upperctl`, except a plain `send TEXT...`, which main.py parses itself."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from functools import partial
from itertools import takewhile
from typing import Any, NoReturn

from upperd import __version__
from upperd.base import paths
from upperd.base.installation import command as command_of
from upperd.base.installation import manual
from upperd.base.streams import warn
from upperd.base.text import near
from upperd.ctl.output import fail, show_help
from upperd.ctl.rows import TOP

COMMANDS = {
    "send": "send text, print it in upper case",
    "status": "see whether the daemon runs (exit status 0: yes, 3: no)",
    "stats": "show what every child does, and the totals",
    "top": "show the children, live: what they do, and what they use",
    "ping": "see how fast the daemon answers (exit status 1: no answer)",
    "version": "show the versions of upperctl and of the running daemon",
}
"""The commands, each a module beside this one, and their lines in `--help`."""
EXAMPLES = {
    "": """\
examples:
  upperctl send hello, world          upperctl --tcp localhost:9999 send hi
upperctl COMMAND --help shows more; the manual is: MANUAL""",
    "send": """\
examples:
  upperctl send hello, world          the words, as one line
  upperctl send                       on a terminal: a prompt, until Ctrl-D
  upperctl send --file README.md > README.upper
  tail -f log | upperctl send         each line at once, as it comes
  upperctl send -- --help             text that begins with a dash goes after --""",
    "status": "examples:\n  upperctl status && echo it runs\n  upperctl --socket /run/other/upperd.sock status",
    "stats": """\
examples:
  upperctl stats --watch                   again every 2 seconds, until Ctrl-C
  upperctl stats --json | jq .connections
  upperctl stats --prometheus --output upperd.prom""",
    "top": """\
keys:
  q  quit                 left, right (or <, >)  sort by another column
  r  reverse the order    up, down (or k, j), page up, page down  scroll
  space  pause            + -  update less often, more often

examples:
  upperctl top --sort mem
  upperctl top --once | head""",
    "ping": """\
examples:
  upperctl ping                 until Ctrl-C
  upperctl ping -c 1 -q -W 2    for health checks: exit status 0 if it answers""",
    "version": "example:\n  upperctl version     after an upgrade: is the new version running?",
}
"""The text below the help of upperctl ("") and of each command."""


class Parser(argparse.ArgumentParser):
    """An argparse parser that exits with EX_USAGE (sysexits(3)) for a wrong command line, not with 2."""

    def __init__(self, **more: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **more)
        address = self.add_mutually_exclusive_group()
        # SUPPRESS: an option that is absent after the command does not overwrite the one before the command.
        unsaid = argparse.SUPPRESS
        address.add_argument("--socket", metavar="PATH", default=unsaid, help="the daemon's socket")
        address.add_argument("--tcp", metavar="HOST:PORT", default=unsaid, help="the daemon's TCP address")
        address.add_argument("-n", dest="name", metavar="NAME", default=unsaid, help="the daemon's name")

    def actions(self) -> list[argparse.Action]:
        """All options and arguments of this parser."""
        return self._actions

    def _print_message(self, message: str, file: Any = None) -> None:
        """As argparse's, but report an error if standard output is full or closed; argparse ignores it."""
        (warn if file is sys.stderr else show_help)(message)

    def options(self) -> list[str]:
        """Every option string, such as -h, --socket."""
        return [option for action in self._actions for option in action.option_strings]

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line and what may have been meant; exit with EX_USAGE."""
        if found := re.match(r"argument COMMAND: invalid choice: '(.*?)'", message):
            message = _no_command(found[1])
        elif message.endswith("required: COMMAND"):
            message = f"give a command: {', '.join(COMMANDS)}"
        else:
            message = self._plain(message)
        self.exit(fail(os.EX_USAGE, f"{message}\nTry '{self.prog} --help' or {manual(1, 'upperctl')}."))

    def _plain(self, message: str) -> str:
        """Argparse's message about the value of an option, in the words of upperd(8)."""
        found = re.match("argument ([^:]*): (.*)", message, re.DOTALL)
        action = next((x for x in self._actions if found and found[1] == "/".join(x.option_strings)), None)
        if found is None or action is None:
            return message
        flag, what = action.option_strings[-1], found[2]
        if what.startswith("expected "):
            return f"{flag} needs a value: {action.metavar}"
        if what.startswith("ignored "):
            return f"{flag} takes no value"
        if what.startswith("not allowed with argument "):
            return f"give either {what.rpartition(' ')[2]} or {flag}, not both"
        if wrong := re.match("invalid choice: '(.*?)'", what):
            return f"{flag} is {wrong[1]!r}: it must be one of {', '.join(action.choices or ())}"
        return f"{flag} {what}"


def parse(words: list[str]) -> argparse.Namespace:
    """Parse a command line; `command` of the result is one of COMMANDS. Exits if there is nothing to run."""
    parser, commands = make_parser()
    if not words:
        parser.print_help(sys.stderr)
        parser.exit(os.EX_USAGE)
    # argparse would take the value of an unknown option before the command for the command.
    before = [word.partition("=")[0] for word in takewhile(lambda word: word not in COMMANDS, words)]
    for word in before:
        if re.match(r"--?\w", word) and word not in parser.options() and not re.match("-n.", word):
            parser.error(_no_option(word, parser, commands))
    arguments, unknown = parser.parse_known_args(words, argparse.Namespace(socket=None, tcp=None, name=None))
    command = commands[arguments.command]
    if unknown:
        text = _no_option(unknown[0], command, commands) if unknown[0].startswith("-") else ""
        command.error(text or f"{arguments.command} takes no arguments: leave out {unknown[0]!r}")
    _check(arguments, command)
    return arguments


def _check(arguments: argparse.Namespace, command: Parser) -> None:
    said = {"--socket": arguments.socket, "--tcp": arguments.tcp, "-n": arguments.name}
    given = [flag for flag, value in said.items() if value is not None]
    if len(given) > 1:
        command.error(f"give either {given[0]} or {given[1]}, not both")
    for action in command.actions():
        if action.option_strings and getattr(arguments, action.dest, None) == "":
            cure = "leave it out to find the daemon" if action.option_strings[-1] in said else "name a file"
            command.error(f"{action.option_strings[-1]} is empty: {cure}")
    if arguments.name is not None:
        if not paths.is_name(arguments.name):
            command.error(f"-n is {arguments.name!r}: it must be PROGRAM or PROGRAM@INSTANCE")
        arguments.socket = paths.named_socket(dict(os.environ), os.geteuid(), arguments.name)


_OF_THE_SERVICE = {
    "start": "upperd --socket PATH",
    "stop": "kill PID, which upperctl status shows",
    "restart": "kill PID, which upperctl status shows, and start it again",
    "reload": "kill -HUP PID, which upperctl status shows",
    "enable": "install its unit first: sudo make install",
    "disable": "its unit is not installed",
}
"""Commands of the service manager, not of upperctl, and what to do instead if there is no unit."""


def _no_command(word: str) -> str:
    if otherwise := _OF_THE_SERVICE.get(word.lower()):
        return f"no command {word!r}, since upperctl is only the client: {command_of(word.lower(), otherwise)}"
    if word.lower() == "help":
        return f"no command {word!r}; is it '--help'?"
    cure = near(word.lower(), COMMANDS) or f"; to send text: upperctl send {shlex.quote(word)}"
    return f"no command {word!r}{cure}"


def _no_option(word: str, parser: Parser, commands: dict[str, Parser]) -> str:
    """The message about an option unknown to `parser`, which is upperctl's or a command's."""
    flag = word.partition("=")[0]
    owners = [name for name, command in commands.items() if flag in command.options()]
    if owners:
        place = "comes after the command" if parser.prog == "upperctl" else f"is no option of {parser.prog.split()[1]}"
        return f"{flag} {place}: upperctl {owners[0]} {flag}"
    cure = near(word, parser.options())
    if not cure and parser is commands["send"]:
        cure = "; text that begins with a dash goes after --: upperctl send -- -x"
    return f"no option {flag!r}{cure}"


def make_parser() -> tuple[Parser, dict[str, Parser]]:
    """The parser of upperctl, and the parser of each command."""
    purpose = "Send text to upperd, which answers in upper case, and see what upperd does."
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
    text = "the text; with none, or a dash, standard input is sent"
    send.add_argument("text", nargs="*", metavar="TEXT", help=text)
    send.add_argument("--file", metavar="FILE", help="send this file (-: standard input)")
    limit, text = partial(_seconds, 0.01, 86400), "longest wait for an answer (default: no limit)"
    send.add_argument("--timeout", metavar="SECONDS", type=limit, help=text)

    status.add_argument("--json", action="store_true", help="one JSON object, for programs")

    form = stats.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object, for programs")
    form.add_argument("--prometheus", action="store_true", help="Prometheus's text format")
    stats.add_argument("--output", metavar="FILE", help="with --prometheus: replace FILE in one step")
    text, seconds = "repeat every 2 seconds, or every SECONDS", partial(_seconds, 0.1, 86400)
    stats.add_argument("--watch", metavar="SECONDS", nargs="?", type=seconds, const=2.0, help=text)

    top.add_argument("--sort", metavar="FIELD", choices=tuple(TOP), default="rate", help=", ".join(TOP))
    seconds = partial(_seconds, 0.1, 3600)
    top.add_argument("--interval", metavar="SECONDS", type=seconds, default=1.0, help="between updates (default: 1)")
    top.add_argument("--once", action="store_true", help="print one picture and exit")

    ping.add_argument("-c", dest="count", metavar="COUNT", type=_count, help="stop after COUNT (default: at Ctrl-C)")
    text = "time from one ping to the next (default: 1)"
    ping.add_argument("-i", dest="interval", metavar="SECONDS", type=limit, default=1.0, help=text)
    text = "longest wait for an answer (default: 10)"
    ping.add_argument("-W", "--timeout", metavar="SECONDS", type=limit, default=10.0, help=text)
    ping.add_argument("-q", dest="is_quiet", action="store_true", help="print only the summary")


def _seconds(least: float, most: float, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"is {text!r}: it must be a number of seconds from {least:g} to {most:g}")
    return value


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) < 10**9):
        raise argparse.ArgumentTypeError(f"is {text!r}: it must be a whole number from 1 to {10**9 - 1}")
    return int(text)
