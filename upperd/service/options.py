"""Defines the options of `upperd`, and reads the configuration file.

The command line (flags.py), the parent's settings (settings.py) and what a reload changes (recheck.py) follow from this
table. Every start waits for these imports, so modules that few starts need are imported where they are used.
"""

from __future__ import annotations

import errno
import os

from upperd.base import paths
from upperd.service import kinds
from upperd.service.kinds import (
    ADDRESS,
    FILE,
    FOLDERS,
    GROUP,
    GROUPS,
    HANDLER,
    MODE,
    NAME,
    SOCKET,
    SWITCH,
    USER,
    USERS,
    number,
    time,
    whole,
)  # fmt: skip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_DAY, _YEAR = 86400, 366 * 86400
_SLOTS = 4096
"""The same as layout.SLOTS, whose module imports too much; a test compares them."""
_LONGEST_SHOWN = 1000
"""Characters of a value that an error shows at most: Python's own limit depends on its version."""


class OptionError(Exception):
    """A value is wrong. The text names it and says what is valid; `errno` is for the manager (sd_notify(3), ERRNO=)."""

    status = 64
    """The launcher's exit status."""
    has_threads = False
    """Whether the handler's module has started threads: an ordinary exit would wait for them."""

    def __init__(self, text: str, number: int = errno.EINVAL) -> None:
        super().__init__(text)
        self.errno = number


class ConfigError(OptionError):
    """The configuration is wrong. The text names the file or the option."""

    status = 78


class Option:
    """One option. `name` is its attribute in Options; `flag`, also its key in the file, has dashes for underscores."""

    name: str
    flag: str

    def __init__(self, kind: kinds.Kind, default: Any, text: str, shown: str = "", *, reload: bool = False) -> None:
        """`default`: the value if the option is not given, or a function that computes it from the options before it.

        `text` is its line in the help, and `shown` the default there, if that is no number. `reload`: whether a reload
        applies a new value; otherwise only a restart does.
        """
        self.kind, self.default, self.text, self.reload = kind, default, text, reload
        self.shown = shown or (f"{default:g}" if type(default) in (int, float) else "")

    def __set_name__(self, owner: type, name: str) -> None:
        self.name, self.flag = name, flag(name)

    def meaning(self, value: object) -> Any:
        """Check a value of the command line or the file, and convert it for the daemon. Raises OptionError."""
        if not self.kind.is_right(value):
            raise OptionError(f"{self.flag} is {_shown(value)}: it must be {self.kind.must}")
        try:
            return self.kind.meaning(value)
        except ValueError as error:
            raise OptionError(f"{self.flag}: {error}") from None


def flag(name: str) -> str:
    """An option's name in the file and, after two dashes, on the command line."""
    return name.replace("_", "-")


def _shown(value: object) -> str:
    """The value's repr(), which may fail: a hexadecimal number with too many digits, or tables nested too deep."""
    try:
        shown = repr(value)
    except (ValueError, RecursionError):
        return "too large to show"
    return shown if len(shown) <= _LONGEST_SHOWN else "too large to show"


# Any: on an instance an option is its value, and a type checker must take it for that.
_fixed: Any = Option


def _reloadable(kind: kinds.Kind, default: Any, text: str, shown: str = "") -> Any:
    return Option(kind, default, text, shown, reload=True)


def _default_socket(options: Options) -> str:
    return paths.daemon_socket(dict(os.environ), os.geteuid(), options.name)


def _seven_eighths(options: Options) -> int:
    """The library has the same default (seven_eighths in server/limits.py)."""
    return max(1, options.max_children * 7 // 8)


class Options:
    """The operator's options, checked and converted for the daemon."""

    handler: str = _fixed(HANDLER, "", "serve with this subclass of socketserver.BaseRequestHandler", "upper case")
    python_path: str = _fixed(FOLDERS, "", "also look for the handler's modules in this folder")
    name: str = _fixed(NAME, paths.NAME, "name of the daemon in paths, log and statistics", paths.NAME)
    socket: str = _fixed(SOCKET, _default_socket, "listen on this path, or on the abstract socket @NAME")
    tcp: str = _fixed(ADDRESS, "", "also listen on this loopback address")
    tcp_allow_remote: bool = _fixed(SWITCH, False, "let --tcp and --udp name an address that other hosts can reach")
    udp: str = _fixed(ADDRESS, "", "also take datagrams on this loopback address")
    datagram: str = _fixed(SOCKET, "", "also take datagrams on this path")
    no_socket: bool = _fixed(SWITCH, False, "do not listen on a path, only on --tcp, --udp or --datagram")
    no_fallback: bool = _fixed(
        SWITCH, False, f"fail if the default path cannot be used, instead of listening on {paths.FALLBACK_TCP}"
    )
    max_children: int = _reloadable(
        whole(1, _SLOTS), 64, "maximum number of children, busy and spare: connections served at a time"
    )
    max_children_per_user: int = _reloadable(
        whole(0, _SLOTS), _seven_eighths, "maximum number of children that serve one user (0: all)",
        "seven eighths of max-children",
    )  # fmt: skip
    max_queue: int = _reloadable(
        whole(1, 65536), 2048, "maximum number of connections that wait for a child; more wait in the backlog"
    )
    spare_children: int = _reloadable(whole(1, _SLOTS), 8, "idle children kept ready for a user's first connection")
    connections_per_child: int = _reloadable(
        whole(1, 1_000_000_000), 1000, "connections of one user that a child serves before it exits"
    )
    reuse_unknown: bool = _reloadable(SWITCH, False, "let peers of unknown users share children")
    max_rate_per_user: float = _reloadable(
        number(1e6), 0.0, "connections a second from one user, on average (0: no limit)"
    )
    idle_timeout: float = _reloadable(time(_YEAR), 0.0, "end a connection after this time without traffic (0: never)")
    max_lifetime: float = _reloadable(time(_YEAR), 0.0, "end a connection after this time (0: never)")
    max_bytes: int = _reloadable(whole(0, 2**63 - 1), 0, "end a connection that sends more bytes than this (0: never)")
    allow_user: tuple[int, ...] = _reloadable(
        USERS, (), "admit this user, and no user that is not allowed (repeatable)"
    )
    allow_group: tuple[int, ...] = _reloadable(GROUPS, (), "admit the members of this group, likewise (repeatable)")
    deny_user: tuple[int, ...] = _reloadable(USERS, (), "refuse this user, whatever groups are allowed (repeatable)")
    socket_mode: int = _fixed(MODE, 0, "permissions of the socket file, in octal", "0660 less the umask")
    socket_owner: int = _fixed(USER, -1, "owner of the socket file", "the daemon's own user")
    socket_group: int = _fixed(GROUP, -1, "group of the socket file", "the daemon's own group")
    drain_timeout: float = _reloadable(time(_DAY), 30.0, "how long a connection may go on after SIGTERM")
    idle_exit: float = _reloadable(
        time(_DAY), 0.0, "with socket activation: exit after this time without a connection (0: never)"
    )
    store_listeners: bool = _fixed(
        SWITCH, False, "keep bound listeners in the service manager's descriptor store across a restart"
    )
    scoreboard: str = _fixed(FILE, "", "keep the statistics in this file", "beside the socket")
    pid_file: str = _fixed(FILE, "", "write the daemon's pid to this file")
    ready_fd: int = _fixed(
        whole(3, 1048575), 0, "write a newline to this descriptor when ready, and close it (s6)", "none"
    )
    log_level: str = _reloadable(
        kinds.choice("LEVEL", "error", "warning", "info", "debug"), "info", "log this level and above", "info"
    )

    def __init__(self, **said: Any) -> None:
        """`said`: values of the command line and the file, by option name. Raises OptionError."""
        for option in OPTIONS:
            if option.name in said:
                value = option.meaning(said[option.name])
            else:
                value = option.default(self) if callable(option.default) else option.default
            setattr(self, option.name, value)
        if unknown := said.keys() - vars(self):
            raise TypeError(f"no such options: {', '.join(unknown)}")
        self.default_socket = "socket" not in said
        """Whether the operator named no path: the daemon uses the default one, and makes its folder."""
        self._check_listeners()
        self._check_files()
        for uid in set(self.allow_user) & set(self.deny_user):
            raise OptionError(f"allow-user and deny-user both name user {uid}: choose one")

    def _check_listeners(self) -> None:
        if self.no_socket and not self.default_socket:
            raise OptionError("--no-socket and --socket exclude each other")
        if self.no_socket and not (self.tcp or self.udp or self.datagram):
            others = "--udp HOST:PORT or --datagram PATH"
            raise OptionError(f"--no-socket needs --tcp HOST:PORT, {others}: there is nothing else to listen on")
        if self.tcp_allow_remote and not (self.tcp or self.udp):
            raise OptionError("--tcp-allow-remote needs --tcp HOST:PORT or --udp HOST:PORT: it applies only to these")
        said = {"mode": self.socket_mode > 0, "owner": self.socket_owner >= 0, "group": self.socket_group >= 0}
        for name in [name for name, is_said in said.items() if is_said and paths.is_abstract(self.socket)]:
            raise OptionError(
                f"socket-{name} is for a path, and {self.socket} is an abstract socket, which has no permissions: "
                "use --allow-user and --allow-group instead"
            )

    def _check_files(self) -> None:
        """Refuse two files of the daemon, locks included, at one path. Raises OptionError."""
        socket = "" if self.default_socket else self.socket
        named = {"socket": socket, "datagram": self.datagram, "scoreboard": self.scoreboard, "pid-file": self.pid_file}
        seen: dict[str, str] = {}
        for key, path in named.items():
            if not path or (key in ("socket", "datagram") and paths.is_abstract(path)):
                continue
            for made in (path, paths.lock_of(path)):
                other = seen.setdefault(os.path.abspath(made), key)
                if other != key:
                    raise OptionError(f"{key} and {other} are the same file, {made!r}: choose another")


def options_of(table: type) -> tuple[Option, ...]:
    """The options that a class defines, in order of definition."""
    return tuple(option for option in vars(table).values() if isinstance(option, Option))


OPTIONS = options_of(Options)
"""All options, in the order of the help."""


def no_option(key: str, known: Iterable[str]) -> str:
    """The error text for a key or flag that is not in `known`."""
    from upperd.base.text import near

    return f"no option {key!r}{near(key, known)}"


_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""Some editors write it at the start of a file."""
_UNQUOTED = ("Invalid value", "Expected newline or end of document")
"""How tomllib's errors begin for a text without quotes, for 0660 and for 5s."""
_CURES = {
    errno.ENOENT: ": correct the name, or create the file (it may be empty)",
    errno.EACCES: f": uid {os.geteuid()} must be able to read it",
}


def read_config(path: str) -> dict[str, Any]:
    """Read a TOML file; returns its values by option name, each checked by itself. Raises ConfigError."""
    import tomllib

    try:
        with open(path, "rb") as file:
            text = file.read().removeprefix(_BYTE_ORDER_MARK).decode("utf-8")
        table = tomllib.loads(text)
    except OSError as error:
        cure = _CURES.get(error.errno or 0, "")
        raise ConfigError(f"{path}: {error.strerror}{cure}", error.errno or errno.EIO) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start + 1}: save it as UTF-8") from None
    except (ValueError, RecursionError) as error:  # ValueError: not TOML, or a number of 5,000 digits
        is_unquoted = str(error).startswith(_UNQUOTED) and "(at line " in str(error)
        hint = ": text needs quotes, and so do modes and times with a unit" * is_unquoted
        raise ConfigError(f"{path}: not TOML: {error}{hint}") from None
    keys = {option.flag: option for option in OPTIONS}
    for key, value in table.items():
        if key not in keys:
            raise ConfigError(f"{path}: {no_option(key, keys)}")
        if value == "":
            raise ConfigError(f"{path}: {key} is empty: leave it out for its default")
        try:
            keys[key].meaning(value)
        except OptionError as error:
            raise ConfigError(f"{path}: {error}{_about_quotes(keys[key].kind, value)}") from None
    return {keys[key].name: value for key, value in table.items()}


def _about_quotes(kind: kinds.Kind, value: object) -> str:
    """A hint if the value would be valid with quotes, or without them; otherwise empty."""
    if type(value) in (int, float) and kind.is_right(_shown(value)):
        return ', in quotes: "0660"' if kind is MODE else ", in quotes"
    try:
        is_meant = isinstance(value, str) and kind.is_right(kind.read(value))
    except (KeyError, ValueError):
        is_meant = False
    return ", without quotes" if is_meant else ""
