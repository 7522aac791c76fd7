"""The command line of `upperd`: read the options, check them, and exec the lean parent.

The process stays the same (so LISTEN_PID, WATCHDOG_PID and the manager's main pid stay right), but what it took to
parse and check does not stay in it: every child would pay for that. What the manager said through the environment is
handed over as settings, so that neither the parent nor a child ever has NOTIFY_SOCKET, WATCHDOG_* or LISTEN_* in it.

Every start waits for this, so nothing is imported but what an ordinary start needs (a test has the list).
"""

from __future__ import annotations

import errno
import os
import sys

from upperd.base import paths
from upperd.base.streams import open_closed
from upperd.service.manager import Manager, ManagerError, take_environment
from upperd.service.options import OPTIONS, ConfigError, OptionError, Options, flag, read_config
from upperd.service.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

EX_USAGE = 64
EX_CONFIG = 78

_TUNABLES = ":".join(
    f"glibc.malloc.{name}={value}" for name, value in (("tcache_count", 0), ("mxfast", 0), ("trim_threshold", 2**20))
)
_LONGEST_WORD = 131_071
"""Bytes that a program can be handed in one word (execve(2), MAX_ARG_STRLEN)."""


def main() -> int:
    """`upperd`: returns only where there is no daemon to become. Exit status 64: the command line, 78: the file."""
    words, check_only = sys.argv[1:], False
    if "--inetd" in words:  # before anything is said
        from upperd.service.inetd import keep_stream_clean

        keep_stream_clean()
    else:
        open_closed()
        if os.getpid() == 1:
            _hold_signals()
    manager_address = os.environ.get("NOTIFY_SOCKET", "")
    try:
        flags = parse(words)
        check_only = flags.pop("check_config", False)
        config = flags.get("config", "")
        live = _take_mode(flags)
        options = read_options(flags)
        if check_only:
            print(f"upperd: {config or 'the command line'} is valid")
            return 0
        settings = make_settings(options, take_environment(os.environ, os.getpid()))
        settings.arguments = join(words)
        settings.titles = _folder_of("setproctitle")
        return live(settings)
    except (OptionError, ManagerError) as error:
        if manager_address and _folder_of("sdnotify") and not check_only:
            from upperd.service.notify import Notifier

            number = error.errno if isinstance(error, OptionError) else errno.EINVAL
            Notifier(manager_address).send(f"STATUS={error}", f"ERRNO={number}")
        print(f"upperd: {error}\nTry 'upperd --help' or man 8 upperd.", file=sys.stderr)
        return status_of(error)


def _hold_signals() -> None:
    """Keep what ends us for the parent: process 1 of a container would never see it (pid_namespaces(7), kill(2))."""
    import _signal  # type: ignore[import-not-found]  # typeshed does not know it

    _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP))


def _take_mode(flags: dict[str, Any]) -> Callable[[Settings], int]:
    """What to be: the daemon's parent here, or in the background, or who serves one connection."""
    # Imported by who wants it: neither is little.
    if flags.pop("inetd", False):
        from upperd.service import inetd

        inetd.refuse_options(flags)
        return inetd.serve
    if flags.pop("daemonize", False):
        from upperd.service import daemonize

        daemonize.refuse_supervised(os.environ)
        return lambda settings: daemonize.start(settings, flags, _lean_command)
    return _become_parent


def status_of(error: OptionError | ManagerError) -> int:
    """The exit status for what is wrong."""
    return EX_CONFIG if isinstance(error, (ConfigError, ManagerError)) else EX_USAGE


def read_options(flags: dict[str, Any]) -> Options:
    """The options that a parsed command line names, and the file that it names. Raises OptionError, ConfigError."""
    flags = dict(flags)
    config = flags.pop("config", "")
    return Options(**{**(read_config(config) if config else {}), **flags})


def parse(words: list[str]) -> dict[str, Any]:
    """Parse a command line: what it says, by the names of the options. Raises OptionError."""
    flags = _parse_plain(words)
    if flags is None:
        from upperd.service import command_line

        return command_line.parse(words)
    return flags


_SWITCHES = {
    **{f"--{flag(option.name)}": option.name for option in OPTIONS if type(option.default) is bool},
    **{f"--{flag(name)}": name for name in ("check_config", "inetd", "daemonize")},
}
_VALUED = {f"--{flag(option.name)}": option for option in OPTIONS if type(option.default) is not bool}


def _parse_plain(words: list[str]) -> dict[str, Any] | None:
    """The same for a line in which nothing is odd; None: argparse knows better what it means, or what is wrong."""
    flags: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        if word in _SWITCHES:
            flags[_SWITCHES[word]] = True
            continue
        key, equals, value = word.partition("=")
        if not equals:
            value = next(rest, "")
        if not value or value.startswith("-"):
            return None
        option = _VALUED.get(key)
        if option is None:
            if key != "--config":
                return None
            flags["config"] = value
        elif type(option.default) is tuple:
            flags[option.name] = (*flags.get(option.name, ()), value)
        else:
            try:
                flags[option.name] = type(option.default)(value)
            except ValueError:
                return None
            if flags[option.name] not in option.metadata.get("choices", (flags[option.name],)):
                return None
    return None if "inetd" in flags and "daemonize" in flags else flags


_SAFE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-"


def join(words: list[str]) -> str:
    """One word of them all, for shlex.split(): what shlex.join() gives, which imports `re`."""
    return " ".join(word if word and not word.strip(_SAFE) else f"'{_quoted(word)}'" for word in words)


def _quoted(word: str) -> str:
    return word.replace("'", "'\"'\"'")


def make_settings(options: Options, manager: Manager | None = None) -> Settings:
    """What the parent gets: the options, the defaults that depend on who and where we are, the manager's word."""
    manager = manager or Manager()
    settings = Settings()
    default = paths.daemon_socket(dict(os.environ), os.geteuid())
    settings.socket = options.socket or default
    settings.default_socket = not options.socket
    settings.no_socket = options.no_socket
    settings.tcp = options.tcp
    settings.tcp_allow_remote = options.tcp_allow_remote
    settings.udp = options.udp
    settings.datagram = options.datagram
    settings.fallback = "" if options.no_fallback else paths.FALLBACK_TCP
    settings.scoreboard = options.scoreboard
    settings.pid_file = options.pid_file
    settings.max_children = options.max_children
    settings.spare_children = options.spare_children
    settings.connections_per_child = options.connections_per_child
    settings.max_children_per_user = options.max_children_per_user
    settings.max_rate_per_user = options.max_rate_per_user
    settings.idle_timeout = options.idle_timeout
    settings.max_lifetime = options.max_lifetime
    settings.max_bytes = options.max_bytes
    settings.allow_user = _joined(options.uids("allow_user"))
    settings.allow_group = _joined(options.gids("allow_group"))
    settings.deny_user = _joined(options.uids("deny_user"))
    settings.socket_mode = int(options.socket_mode or "0", 8)
    settings.socket_owner = (options.uids("socket_owner") or [-1])[0]
    settings.socket_group = (options.gids("socket_group") or [-1])[0]
    settings.drain_timeout = options.drain_timeout
    settings.idle_exit = options.idle_exit
    settings.store_listeners = options.store_listeners
    settings.ready_fd = options.ready_fd
    settings.log_level = options.log_level
    settings.journal = _is_journal(2)
    settings.listeners = ":".join(f"{descriptor}={name}" for descriptor, name in manager.listeners)
    settings.warning = manager.warning
    settings.notify_socket = manager.notify_socket
    settings.watchdog_usec = manager.watchdog_usec
    return settings


def _joined(numbers: list[int]) -> str:
    return ",".join(map(str, sorted(numbers)))


def _is_journal(descriptor: int) -> bool:
    """Whether the descriptor is the stream that systemd connected to the journal (systemd.exec(5), $JOURNAL_STREAM)."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _folder_of(package: str) -> str:
    """Where a package lies; empty: it is not installed."""
    # As importlib.util.find_spec() does it, which imports a lot.
    for finder in sys.meta_path:
        spec = finder.find_spec(package, None)
        if spec is not None:
            return os.path.dirname(os.path.abspath(spec.origin)) if spec.origin else ""
    return ""


def _check_ready_fd(settings: Settings) -> None:
    """Raises OptionError: nobody has opened the descriptor for us to write to."""
    import fcntl

    what = f"ready-fd is {settings.ready_fd}"
    if settings.ready_fd in dict(settings.passed()):
        raise OptionError(f"{what}: that is a socket that the service manager passed", errno.EBADF)
    try:
        mode = fcntl.fcntl(settings.ready_fd, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError:
        cure = f"the supervisor has to open it (s6: a file notification-fd that says {settings.ready_fd})"
        raise OptionError(f"{what}: it is not open: {cure}", errno.EBADF) from None
    if mode == os.O_RDONLY:
        raise OptionError(f"{what}: it is open, but not for writing", errno.EBADF)


def _become_parent(settings: Settings) -> NoReturn:
    if settings.ready_fd:
        _check_ready_fd(settings)
    command = _lean_command(settings)
    os.execv(command[0], command)


def _lean_command(settings: Settings) -> list[str]:
    """The words to exec; what the parent is to find in its environment is put there. Raises OptionError."""
    words = settings.words()
    for word in words:
        if len(os.fsencode(word)) > _LONGEST_WORD:
            raise OptionError(f"{flag(word.partition('=')[0])} is longer than {_LONGEST_WORD} bytes: shorten it")
    own = os.path.dirname(os.path.abspath(__file__))
    package = os.path.dirname(own)
    sdnotify = _folder_of("sdnotify")
    if not sdnotify:
        raise OptionError("upperd needs the Python package sdnotify: install it")
    path = dict.fromkeys((os.path.dirname(package), os.path.dirname(sdnotify)))
    lean = [sys.executable, "-s", "-P", "-S", os.path.join(own, "lean.py"), os.pathsep.join(path)]
    # What `-I` would do, but for the allocator: see packing.py.
    for name in [name for name in os.environ if name.startswith("PYTHON")]:
        del os.environ[name]
    os.environ["PYTHONMALLOC"] = "malloc"
    # And malloc keeps no lists of what was freed last, by size (GNU C library manual, "Memory Allocation Tunables"):
    # what a process frees becomes one piece again, and what it makes next comes from there; and of the piece at the
    # end, which every large message is taken from, it keeps a megabyte. Unless the operator knows better.
    os.environ.setdefault("GLIBC_TUNABLES", _TUNABLES)
    # Every function of C is looked up now, in the parent, not by each child when it calls it first (ld.so(8)).
    os.environ["LD_BIND_NOW"] = "1"
    return lean + words


if __name__ == "__main__":
    sys.exit(main())
