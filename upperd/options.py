"""The options of `upperd`: each is defined once, here, with its flag, its key in TOML, its default and its range.

Imported by the launcher only: dataclasses, argparse and tomllib are too heavy for a process that forks.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import os
import tomllib
from dataclasses import dataclass, field, fields
from typing import Any

from upperd import __version__, log, paths, scoreboard


class OptionError(Exception):
    """A value is wrong. The text names it and says what would be right; `errno` is for the manager."""

    def __init__(self, text: str, number: int = errno.EINVAL) -> None:
        super().__init__(text)
        self.errno = number


class ConfigError(OptionError):
    """The file is wrong. The text names it, too."""


def _option(default: Any, metavar: str, text: str, **more: Any) -> Any:
    return field(default=default, metadata={"metavar": metavar, "help": text, **more})


@dataclass(frozen=True)
class Options:
    """What the operator said, checked. A field `max_children` is `--max-children` and `max-children = N`."""

    socket: str = _option("", "PATH", "listen on this path")
    tcp: str = _option("", "HOST:PORT", "listen on this loopback address, too")
    no_socket: bool = _option(False, "", "do not listen on a path: TCP alone")
    no_fallback: bool = _option(
        False, "", f"fail where the path cannot be had, instead of listening on {paths.FALLBACK_TCP}"
    )
    max_children: int = _option(
        64, "N", "children at most, busy and spare: connections served at one time", low=1, high=scoreboard.SLOTS
    )
    spare_children: int = _option(
        4, "N", "children that wait for a connection, for each listener", low=1, high=scoreboard.SLOTS
    )
    connections_per_child: int = _option(
        1, "N", "connections of one user that a child serves before it ends", low=1, high=1_000_000_000
    )
    drain_timeout: float = _option(
        30.0, "SECONDS", "how long a connection may go on after SIGTERM", low=0.0, high=86400.0
    )
    idle_exit: float = _option(
        0.0, "SECONDS", "when activated: leave after so long without a connection (0: never)", low=0.0, high=86400.0
    )
    store_listeners: bool = _option(
        False, "", "keep the listeners that are bound in the manager's descriptor store across a restart"
    )
    scoreboard: str = _option("", "FILE", "keep the statistics in this file (default: beside the socket)")
    pid_file: str = _option("", "FILE", "write the daemon's pid to this file")
    log_level: str = _option("info", "LEVEL", "log what is as important as this", choices=tuple(log.LEVELS))

    def __post_init__(self) -> None:
        for option in fields(self):
            _check(option.name, getattr(self, option.name), type(option.default), dict(option.metadata))
        if self.no_socket and self.socket:
            raise OptionError("--no-socket and --socket exclude each other")
        if self.no_socket and not self.tcp:
            raise OptionError("--no-socket needs --tcp HOST:PORT: there is nothing else to listen on")
        if self.tcp:
            _check_address(self.tcp)
        _check_paths({name: getattr(self, name) for name in ("socket", "scoreboard", "pid_file")})


def flag(name: str) -> str:
    """The name on the command line and in TOML."""
    return name.replace("_", "-")


def _check(name: str, value: Any, kind: type, metadata: dict[str, Any]) -> None:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise OptionError(f"{flag(name)} is {value!r}: it must be {_KINDS[kind]}")
    choices = metadata.get("choices")
    if choices and value not in choices:
        raise OptionError(f"{flag(name)} is {value!r}: it must be one of {', '.join(choices)}")
    if isinstance(value, (int, float)) and "low" in metadata:
        low, high = metadata["low"], metadata["high"]
        if not low <= value <= high:
            raise OptionError(f"{flag(name)} is {value}: it must be from {low:.10g} to {high:.10g}")
    if isinstance(value, str) and ("\0" in value or "\n" in value):
        raise OptionError(f"{flag(name)} is {value!r}: it must be text of one line")


def _check_paths(named: dict[str, str]) -> None:
    """No two of the files that the daemon makes may be one."""
    seen: dict[str, str] = {}
    for name, path in named.items():
        for made in (path, paths.lock_of(path)) if path else ():
            other = seen.setdefault(os.path.abspath(made), name)
            if other != name:
                raise OptionError(f"{flag(name)} and {flag(other)} are one file, {made}: choose another")


_KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _check_address(address: str) -> None:
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 65536):
        raise OptionError(f"tcp is {address!r}: it must be HOST:PORT, such as {paths.FALLBACK_TCP} or [::1]:9999")


def make_parser() -> argparse.ArgumentParser:
    """The command line. Flags that are not given are absent from the result."""
    parser = argparse.ArgumentParser(
        prog="upperd",
        description="Serve a Unix socket: text in, upper case out. Under systemd it takes the sockets it is passed.",
        epilog="The manual: man 8 upperd. The client: upperctl.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    for option in fields(Options):
        _add_flag(parser, option.name, option.default, dict(option.metadata))
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
    shown = "" if default == "" else f" (default: {default:g})" if type(default) is float else f" (default: {default})"
    parser.add_argument(
        f"--{flag(name)}", dest=name, metavar=metadata["metavar"], type=type(default), help=text + shown,
        choices=metadata.get("choices"),
    )


def read_config(path: str) -> dict[str, Any]:
    """Read a TOML file: the values by the names of the fields. Raises ConfigError."""
    try:
        with open(path, "rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", error.errno or errno.EIO) from None
    except (ValueError, RecursionError) as error:  # ValueError: not TOML, not UTF-8, a number of 5,000 digits
        raise ConfigError(f"{path}: not TOML: {error}") from None
    names = {flag(option.name): option.name for option in fields(Options)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in names:
            near = difflib.get_close_matches(key, names, 1)
            raise ConfigError(f"{path}: no option {key!r}" + (f"; is it {near[0]!r}?" if near else ""))
        if value == "":
            raise ConfigError(f"{path}: {key} is empty: leave it out for its default")
        whole = type(value) is int and names[key] in _FLOATS and abs(value) < 2**53
        values[names[key]] = float(value) if whole else value
    for option in fields(Options):
        if option.name in values:
            try:
                _check(option.name, values[option.name], type(option.default), dict(option.metadata))
            except OptionError as error:
                raise ConfigError(f"{path}: {error}") from None
    return values


_FLOATS = {option.name for option in fields(Options) if type(option.default) is float}
