"""The command line of `upperd` as argparse has it: its help, and what is wrong with a line. For cli.py, if need be."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from upperd import __version__
from upperd.service.options import OPTIONS, OptionError, flag


def parse(words: list[str]) -> dict[str, Any]:
    """What a command line says, by the names of the options. Raises OptionError."""
    parser = make_parser()
    parser.exit_on_error = False
    # argparse exits with 2 for a wrong line; a daemon's caller knows sysexits(3).
    parser.error = _raise_option_error  # type: ignore[method-assign]
    try:
        flags = vars(parser.parse_args(words))
    except argparse.ArgumentError as error:
        raise OptionError(str(error)) from None
    for name, value in flags.items():
        if value == "" or (isinstance(value, list) and "" in value):
            raise OptionError(f"--{flag(name)} is empty: leave it out for its default")
    return {name: tuple(value) if isinstance(value, list) else value for name, value in flags.items()}


def _raise_option_error(message: str) -> NoReturn:
    raise OptionError(message)


def make_parser() -> argparse.ArgumentParser:
    """The command line. Flags that are not given are absent from the result."""
    parser = argparse.ArgumentParser(
        prog="upperd",
        description="Serve a Unix socket: text in, upper case out. Under systemd it takes the sockets it is passed.",
        epilog="The manual: man 8 upperd. The client: upperctl.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    for option in OPTIONS:
        _add_flag(parser, option.name, option.default, option.metadata)
    parser.add_argument("--config", metavar="FILE", help="read options from this TOML file; flags win")
    parser.add_argument("--check-config", action="store_true", help="check flags and file, and exit")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--inetd", action="store_true", help="serve the one connection on standard input, and exit")
    mode.add_argument("--daemonize", action="store_true", help="go into the background (not under systemd)")
    parser.add_argument("--version", action="version", version=f"upperd {__version__}")
    return parser


def _add_flag(parser: argparse.ArgumentParser, name: str, default: Any, metadata: dict[str, Any]) -> None:
    text = metadata["help"]
    if type(default) is bool:
        parser.add_argument(f"--{flag(name)}", dest=name, action="store_true", help=text)
        return
    if type(default) is tuple:
        parser.add_argument(f"--{flag(name)}", dest=name, action="append", metavar=metadata["metavar"], help=text)
        return
    is_none = default == "" or default < metadata.get("low", default)
    shown = "" if is_none else f" (default: {default:g})" if type(default) is float else f" (default: {default})"
    parser.add_argument(
        f"--{flag(name)}", dest=name, metavar=metadata["metavar"], type=type(default), help=text + shown,
        choices=metadata.get("choices"),
    )
