"""The command line of `upperd`: its flags, their parser, and the text of `--help`.

It does not use argparse, since importing that and its dozen modules would slow every start. Options are long, except
-h, and never abbreviated. They take a value (`--key value` or `--key=value`) or none.
"""

from __future__ import annotations

from upperd.base.paths import NAME
from upperd.service.kinds import FILE, PID, SWITCH
from upperd.service.options import OPTIONS, Option, OptionError, no_option, options_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class _OfTheLine:
    """Options of the command line that the file does not take."""

    config = Option(FILE, "", "read options from this TOML file; flags win")
    check_config = Option(SWITCH, False, "check the flags and the file, and exit")
    reload = Option(PID, 0, "check the flags and the file, and reload the daemon with this pid", "none")
    inetd = Option(SWITCH, False, "serve the one connection on standard input, and exit")
    daemonize = Option(SWITCH, False, "go into the background (not under systemd)")
    help = Option(SWITCH, False, "show this, and exit")
    version = Option(SWITCH, False, "print the version, and exit")


_OF_THE_PROGRAM = ("handler", "python_path", "name")
"""Options that a program around a handler sets itself (program.py); its help leaves them out."""
FLAGS = {f"--{option.flag}": option for option in (*OPTIONS, *options_of(_OfTheLine))}


def parse(words: list[str]) -> dict[str, Any]:
    """Parse a command line: the values, by the names of their options. Raises OptionError."""
    said: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        flag, equals, value = ("--help" if word == "-h" else word).partition("=")
        if flag not in FLAGS:
            raise OptionError(no_option(flag, FLAGS))
        option = FLAGS[flag]
        if option.kind is SWITCH:
            if equals:
                raise OptionError(f"{flag} takes no value")
            said[option.name] = True
            continue
        if not equals and (value := next(rest, "--")).startswith("--"):
            raise OptionError(f"{flag} needs a value: {option.kind.metavar}")
        if not value:
            raise OptionError(f"{flag} is empty: leave it out for its default")
        if option.kind.is_list:
            said[option.name] = (*said.get(option.name, ()), value)
            continue
        try:
            said[option.name] = option.kind.read(value)
        except ValueError:
            said[option.name] = value  # Options then reports the word as it is
    return said


def help_text(program: str = NAME, purpose: str = "") -> str:
    """The text of --help."""
    from upperd.base.installation import manual

    is_ours = program == NAME
    purpose = purpose or "Serve a Unix socket: text in, upper case out, or what your own handler does."
    lines = [f"usage: {program} [OPTION]...", "", purpose, ""]
    for flag, option in FLAGS.items():
        if option.name in _OF_THE_PROGRAM and not is_ours:
            continue
        default = f" (default: {option.shown})" if option.shown else ""
        lines += [f"  {flag} {option.kind.metavar}".rstrip(), f"        {option.text}{default}"]
    client = "upperctl" if is_ours else f"upperctl -n {program}"
    return "\n".join((*lines, "", f"The manual: {manual(8, 'upperd')}. The client: {client}."))
