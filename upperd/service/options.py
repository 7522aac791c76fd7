"""The options of `upperd`: each is defined once, here, with its flag, its key in TOML, its default and its range.

Imported by the launcher only, which every start waits for: what is not needed each time is imported by who needs it,
and no module of the library that itself needs many (dataclasses, enum, re, typing). argparse: see command_line.py.
"""

from __future__ import annotations

import errno
import os

from upperd.base import paths
from upperd.server import layout
from upperd.service import accounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_YEAR = 366 * 86400.0


_LEVELS = ("error", "warning", "info", "debug")
"""Those of log.py, which imports too much; a test holds them to be the same."""


class OptionError(Exception):
    """A value is wrong. The text names it and says what would be right; `errno` is for the manager."""

    def __init__(self, text: str, number: int = errno.EINVAL) -> None:
        super().__init__(text)
        self.errno = number


class ConfigError(OptionError):
    """The file is wrong. The text names it, too."""


class Option:
    """One option: its name, its default, which says its type, too, and what else there is to say of it.

    It is the attribute of Options, which nobody can set.
    """

    def __init__(self, default: Any, metadata: dict[str, Any]) -> None:
        """`metadata`: `metavar` and `help`, and `low` and `high`, or `choices`, where not every value will do."""
        self.name = ""
        self.default = default
        self.metadata = metadata

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, options: Options | None, owner: type) -> Any:
        return self if options is None else options._values[self.name]

    def __set__(self, options: Options, value: object) -> None:
        raise AttributeError(f"{self.name} is as it was given")


def _option(default: Any, metavar: str, text: str, **more: Any) -> Any:
    return Option(default, {"metavar": metavar, "help": text, **more})


class Options:
    """What the operator said, checked. An attribute `max_children` is `--max-children` and `max-children = N`."""

    __slots__ = ("_values",)

    socket: str = _option("", "PATH", "listen on this path; on an abstract socket: @NAME")
    tcp: str = _option("", "HOST:PORT", "listen on this loopback address, too")
    tcp_allow_remote: bool = _option(False, "", "let --tcp and --udp name an address that other hosts can reach")
    udp: str = _option("", "HOST:PORT", "take datagrams on this loopback address, too")
    datagram: str = _option("", "PATH", "take datagrams on this path, too")
    no_socket: bool = _option(False, "", "do not listen on a path: only where other options say")
    no_fallback: bool = _option(
        False, "", f"fail where the path cannot be had, instead of listening on {paths.FALLBACK_TCP}"
    )
    max_children: int = _option(
        64, "N", "children at most, busy and spare: connections served at one time", low=1, high=layout.SLOTS
    )
    max_children_per_user: int = _option(
        0, "N", "of these, children that serve one user (0: all)", low=0, high=layout.SLOTS
    )
    spare_children: int = _option(
        8, "N", "children that wait for a connection, for each listener", low=1, high=layout.SLOTS
    )
    connections_per_child: int = _option(
        1, "N", "connections of one user that a child serves before it ends", low=1, high=1_000_000_000
    )
    max_rate_per_user: float = _option(
        0.0, "N", "connections of one user a second, on average (0: any number)", low=0.0, high=1e6
    )
    idle_timeout: float = _option(
        0.0, "SECONDS", "end a connection on which nothing moved for so long (0: never)", low=0.0, high=_YEAR
    )
    max_lifetime: float = _option(0.0, "SECONDS", "end a connection after so long (0: never)", low=0.0, high=_YEAR)
    max_bytes: int = _option(
        0, "N", "end a connection that sends more bytes than these (0: never)", low=0, high=2**63 - 1
    )
    allow_user: tuple[str, ...] = _option((), "USER", "let this user in, and nobody who is not allowed (repeatable)")
    allow_group: tuple[str, ...] = _option((), "GROUP", "let the members of this group in, likewise (repeatable)")
    deny_user: tuple[str, ...] = _option((), "USER", "do not let this user in, whatever his groups (repeatable)")
    socket_mode: str = _option("", "MODE", "permissions of the path, in octal (default: 0660 less the umask)")
    socket_owner: str = _option("", "USER", "owner of the path")
    socket_group: str = _option("", "GROUP", "group of the path")
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
    ready_fd: int = _option(
        0, "N", "write a newline to this descriptor when ready, and close it (s6)", low=3, high=1048575
    )
    log_level: str = _option("info", "LEVEL", "log what is as important as this", choices=_LEVELS)

    def __init__(self, **chosen: Any) -> None:
        """`chosen`: values by the names of the options; the others have their defaults. Raises OptionError."""
        self._values = {option.name: chosen.get(option.name, option.default) for option in OPTIONS}
        if unknown := chosen.keys() - self._values:
            raise TypeError(f"no such options: {', '.join(unknown)}")
        for option in OPTIONS:
            if option.name in chosen:  # a default may say "none" by what nobody can choose
                _check(option.name, self._values[option.name], type(option.default), option.metadata)
        if self.no_socket and self.socket:
            raise OptionError("--no-socket and --socket exclude each other")
        if self.no_socket and not (self.tcp or self.udp or self.datagram):
            others = "--udp HOST:PORT or --datagram PATH"
            raise OptionError(f"--no-socket needs --tcp HOST:PORT, {others}: there is nothing else to listen on")
        if self.tcp_allow_remote and not (self.tcp or self.udp):
            raise OptionError("--tcp-allow-remote needs --tcp HOST:PORT or --udp: it is about those addresses alone")
        for name in ("tcp", "udp"):
            if getattr(self, name):
                _check_address(name, getattr(self, name))
        for name in ("socket", "datagram"):
            if paths.is_abstract(getattr(self, name)):
                self._check_abstract(name)
        _check_paths({name: getattr(self, name) for name in ("socket", "datagram", "scoreboard", "pid_file")})
        if self.socket_mode and not _is_mode(self.socket_mode):
            raise OptionError(f"socket-mode is {self.socket_mode!r}: it must be octal, such as 0660")
        self._check_accounts()

    def __eq__(self, other: object) -> bool:
        return self._values == other._values if isinstance(other, Options) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._values.values()))

    def _check_abstract(self, option: str) -> None:
        """Raises OptionError: such a socket cannot be, or what is said of it is about a path."""
        said = getattr(self, option)
        if complaint := paths.complaint_about(said):
            raise OptionError(f"{option} is {_shown(said)}: {complaint}; a path that begins with @ is ./@...")
        if option != "socket":
            return
        for name in ("socket_mode", "socket_owner", "socket_group"):
            if getattr(self, name):
                raise OptionError(
                    f"{flag(name)} is about a path, and {self.socket} is an abstract socket, which has no permissions: "
                    "say who may connect with --allow-user and --allow-group"
                )

    def _check_accounts(self) -> None:
        """Raises OptionError: there is no such user or group, or the rules contradict each other."""
        allowed, denied = self.uids("allow_user"), self.uids("deny_user")
        self.uids("socket_owner")
        self.gids("allow_group")
        self.gids("socket_group")
        for uid in set(allowed) & set(denied):
            raise OptionError(f"allow-user and deny-user both name user {uid}: choose one")

    def uids(self, name: str) -> list[int]:
        """The users that an option names, as numbers. Raises OptionError."""
        return self._numbers(name, accounts.uid_of)

    def gids(self, name: str) -> list[int]:
        """The groups that an option names, as numbers. Raises OptionError."""
        return self._numbers(name, accounts.gid_of)

    def _numbers(self, name: str, look_up: Callable[[str], int]) -> list[int]:
        value = getattr(self, name)
        words = (value,) if isinstance(value, str) and value else value
        if not words:
            return []
        from upperd.service import guard

        if len(words) > guard.LONGEST_LIST:
            raise OptionError(f"{flag(name)} has {len(words)} names: at most {guard.LONGEST_LIST}; a group may do")
        try:
            return list(dict.fromkeys(map(look_up, words)))
        except accounts.AccountError as error:
            raise OptionError(f"{flag(name)}: {error}") from None


OPTIONS = tuple(option for option in vars(Options).values() if isinstance(option, Option))
"""All of them, in their order in the help."""


def flag(name: str) -> str:
    """The name on the command line and in TOML."""
    return name.replace("_", "-")


def _check(name: str, value: Any, kind: type, metadata: dict[str, Any]) -> None:
    if kind is tuple and isinstance(value, tuple):
        for item in value:
            if not isinstance(item, str):
                what = f"a name, or a number from 0 to {accounts.HIGHEST}"
                raise OptionError(f"{flag(name)} is {_shown(item)}: it must be {what}")
            if not item:
                raise OptionError(f"{flag(name)} has an empty name in it")
            _check(name, item, str, {})
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise OptionError(f"{flag(name)} is {_shown(value)}: it must be {_KINDS[kind]}")
    choices = metadata.get("choices")
    if choices and value not in choices:
        raise OptionError(f"{flag(name)} is {_shown(value)}: it must be one of {', '.join(choices)}")
    if isinstance(value, (int, float)) and "low" in metadata:
        low, high, form = metadata["low"], metadata["high"], "d" if kind is int else ".10g"
        if not low <= value <= high:
            raise OptionError(f"{flag(name)} is {_shown(value)}: it must be from {low:{form}} to {high:{form}}")
    if isinstance(value, str) and ("\0" in value or "\n" in value):
        raise OptionError(f"{flag(name)} is {_shown(value)}: it must be text of one line")


def _shown(value: Any) -> str:
    """As Python writes it. A number in hexadecimal may have too many digits for that, tables may be nested too deep."""
    try:
        shown = repr(value)
    except (ValueError, RecursionError):
        return "too large to show"
    return shown if len(shown) <= _MOST_SHOWN else "too large to show"


_MOST_SHOWN = 1000
"""Characters of a value in an error: how much of it Python could write depends on its version."""


def _check_paths(named: dict[str, str]) -> None:
    """No two of the files that the daemon makes may be one."""
    seen: dict[str, str] = {}
    for name, path in named.items():
        if name in ("socket", "datagram") and paths.is_abstract(path):
            continue  # which is no file
        for made in (path, paths.lock_of(path)) if path else ():
            other = seen.setdefault(os.path.abspath(made), name)
            if other != name:
                raise OptionError(f"{flag(name)} and {flag(other)} are one file, {made!r}: choose another")


def _is_mode(text: str) -> bool:
    """Whether these are permissions for somebody, in three octal digits or with a zero before them."""
    digits = text[1:] if len(text) == 4 and text[0] == "0" else text
    return len(digits) == 3 and not digits.strip("01234567") and digits != "000"


_KINDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", tuple: "a list of names"}


def _check_address(name: str, address: str) -> None:
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 65536):
        raise OptionError(f"{name} is {address!r}: it must be HOST:PORT, such as {paths.FALLBACK_TCP} or [::1]:9999")


def read_config(path: str) -> dict[str, Any]:
    """Read a TOML file: the values by the names of the options. Raises ConfigError."""
    import tomllib

    try:
        with open(path, "rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", error.errno or errno.EIO) from None
    except (ValueError, RecursionError) as error:  # ValueError: not TOML, not UTF-8, a number of 5,000 digits
        raise ConfigError(f"{path}: not TOML: {error}") from None
    names = {flag(option.name): option.name for option in OPTIONS}
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in names:
            import difflib

            near = difflib.get_close_matches(key, names, 1)
            raise ConfigError(f"{path}: no option {key!r}" + (f"; is it {near[0]!r}?" if near else ""))
        if value == "":
            raise ConfigError(f"{path}: {key} is empty: leave it out for its default")
        values[names[key]] = _convert(names[key], value)
    for option in OPTIONS:
        if option.name in values:
            value = values[option.name]
            try:
                _check(option.name, value, type(option.default), option.metadata)
                if type(option.default) is not bool:  # what one option demands of another may be met by a flag
                    Options(**{option.name: value})
            except OptionError as error:
                raise ConfigError(f"{path}: {error}") from None
    return values


def _convert(name: str, value: Any) -> Any:
    """A value of TOML as the option has it: a whole number may stand for any, a number for a user or group."""
    if type(value) is int and name in _FLOATS and abs(value) < 2**53:
        return float(value)
    if name in _ACCOUNTS:
        return _word(value)
    if name in _LISTS and isinstance(value, list):
        return tuple(map(_word, value))
    return value


def _word(value: Any) -> Any:
    """A user or group as on the command line."""
    return str(value) if type(value) is int and 0 <= value <= accounts.HIGHEST else value


_ACCOUNTS = {"socket_owner", "socket_group"}
_LISTS = {option.name for option in OPTIONS if type(option.default) is tuple}
_FLOATS = {option.name for option in OPTIONS if type(option.default) is float}
