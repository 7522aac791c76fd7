"""The command `upperd`, called the launcher: read the options, check them, and exec the lean parent.

The process stays the same (so LISTEN_PID, WATCHDOG_PID and the manager's main pid stay right), but what it took to
parse and check does not stay in it: every child would pay for that. What the manager said through the environment is
handed over as settings, so that neither the parent nor a child ever has NOTIFY_SOCKET, WATCHDOG_* or LISTEN_* in it.

Nothing is imported but what an ordinary start needs (a test has the list).
"""

from __future__ import annotations

import errno
import os
import sys

from upperd import __version__
from upperd.base.paths import NAME
from upperd.base.streams import complain, open_closed, show
from upperd.service.flags import help_text, parse
from upperd.service.manager import take_environment
from upperd.service.options import ConfigError, OptionError, Options, read_config
from upperd.service.settings import Settings
from upperd.service.subuids import read_ranges

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn


def main(words: list[str] | None = None, program: str = NAME, purpose: str = "") -> int:
    """`upperd`, or another program around a handler (program.py), which is there for this `purpose`.

    Returns only where there is no daemon to become. Exit status 64: the command line, 71: the system refuses something,
    74: standard output, 78: the file, or the handler.
    """
    words, check_only, reloaded = sys.argv[1:] if words is None else words, False, 0
    manager_address, config = os.environ.get("NOTIFY_SOCKET", ""), ""
    try:
        closed = open_closed()
        if "--inetd" in words:  # before anything is said
            from upperd.service.inetd import keep_stream_clean

            keep_stream_clean(closed)
        elif os.getpid() == 1:
            _hold_signals()
        flags = parse(words)
        if "help" in flags or "version" in flags:
            text = help_text(program, purpose) if "help" in flags else f"{program} {__version__}"
            return show(program, text, is_closed=1 in closed)
        reloaded = flags.pop("reload", 0)
        check_only = flags.pop("check_config", False) or bool(reloaded)
        config = flags.get("config", "")
        live = _take_mode(flags)
        options = read_options(flags)
        if check_only:
            check_handler(options, import_path())
            from upperd.service import unit

            unit.refuse_forbidden(options)
            for note in unit.notes(options, config) if config else ():
                print(f"{program}: {config}: {note}", file=sys.stderr)
            if reloaded:
                _reload(reloaded)
                return 0
            text = f"{program}: {config or 'the command line'} is valid"
            return show(program, text, is_closed=1 in closed)
        return live(make_settings(options, words))
    except (OSError, MemoryError, ImportError) as error:
        complain(program, f"cannot start: {_reason(error)}")
        return os.EX_OSERR
    except OptionError as error:
        from upperd.base.installation import manual

        complain(program, str(error), f"Try '{program} --help' or {manual(8, 'upperd')}.")
        if reloaded and error.status == ConfigError.status:
            _reload(reloaded)  # it finds the same, keeps its old settings, and has the reason in its status
        if manager_address and _folder_of("sdnotify") and not check_only:
            _tell_manager(manager_address, error, config, is_inetd="--inetd" in words)
        if error.has_threads:
            os._exit(error.status)
        return error.status


def _reason(error: OSError | MemoryError | ImportError) -> str:
    try:
        from upperd.server.failure import explain

        return explain(error)
    except (OSError, ImportError):  # nor can that be read
        return f"{getattr(error, 'filename', None) or 'a module'}: {getattr(error, 'strerror', None) or error}"


def _tell_manager(address: str, error: OptionError, config: str, *, is_inetd: bool) -> None:
    from upperd.service import retries
    from upperd.service.notify import LAST_WORDS_SECONDS, Notifier

    notifier = Notifier(address)
    notifier.send_failure(error.errno, error.status, str(error))
    notifier.flush(LAST_WORDS_SECONDS)
    if not is_inetd:
        retries.slow_down(error.status, str(error), notifier, config)


def _hold_signals() -> None:
    """Keep what ends us for the parent: process 1 of a container would never see it (pid_namespaces(7), kill(2))."""
    import _signal  # type: ignore[import-not-found]  # typeshed does not know it

    _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP))


def _take_mode(flags: dict[str, Any]) -> Callable[[Settings], int]:
    """What to be: the daemon's parent here, or in the background, or the process that serves one connection."""
    # Imported only where they are asked for: neither is little.
    if flags.pop("inetd", False):
        from upperd.service import inetd

        inetd.refuse_options(flags)
        return lambda settings: _become_parent(inetd.with_connection(settings))
    if flags.pop("daemonize", False):
        from upperd.service import daemonize

        daemonize.refuse_supervised(os.environ)
        return lambda settings: daemonize.start(settings, flags, _lean_command)
    return _become_parent


def _reload(pid: int) -> None:
    """Raises OptionError: there is no such process, or it is not ours."""
    try:
        os.kill(pid, 1)  # SIGHUP
    except OSError as error:
        raise OptionError(f"reload is {pid}: {error.strerror}", error.errno or errno.ESRCH) from None


def read_options(flags: dict[str, Any]) -> Options:
    """The options that a parsed command line names, and the file that it names. Raises OptionError, ConfigError."""
    said = read_config(flags["config"]) if "config" in flags else {}
    said.update(flags)
    said.pop("config", None)
    return Options(**said)


def check_handler(options: Options, path: str) -> None:
    """Load the handler that an option names, as the parent does, with these folders besides. Raises ConfigError."""
    if not options.handler:
        return
    from upperd.service.loading import HandlerError, Handlers

    try:
        Handlers(options, path).check_fit(options)
    except HandlerError as error:
        failure = ConfigError(str(error), error.errno)
        failure.has_threads = error.has_threads
        raise failure from None


def import_path() -> str:
    """Where this process finds modules, besides the standard library: there the parent finds the handler's, too."""
    library = os.path.dirname(os.__file__)
    folders = [os.path.abspath(folder) for folder in sys.path if folder not in (library, f"{library}/lib-dynload")]
    return os.pathsep.join(filter(os.path.isdir, folders))


def make_settings(options: Options, words: list[str]) -> Settings:
    """What the parent gets: the options, and what the manager and the installation have for it. Raises ManagerError."""
    settings = Settings(**vars(options), **take_environment(os.environ, os.getpid()))
    settings.journal = _is_journal(2)
    settings.import_path = import_path() if options.handler else ""
    settings.subordinate_uids, problem = read_ranges()
    settings.warning = settings.warning or problem
    settings.arguments = tuple(words)
    return settings


def _is_journal(descriptor: int) -> bool:
    """Whether the descriptor is the stream that systemd connected to the journal (systemd.exec(5), $JOURNAL_STREAM)."""
    try:
        status = os.fstat(descriptor)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _folder_of(package: str) -> str:
    """The folder of a package; empty: it is not installed."""
    # As importlib.util.find_spec() does it, which imports a lot.
    for finder in sys.meta_path:
        spec = finder.find_spec(package, None)
        if spec is not None:
            return os.path.dirname(os.path.abspath(spec.origin)) if spec.origin else ""
    return ""


def _become_parent(settings: Settings) -> NoReturn:
    if settings.ready_fd:
        _check_ready_fd(settings)
    command = _lean_command(settings)
    try:
        os.execv(command[0], command)
    except OSError as error:
        raise OptionError(f"{command[0]}: {error.strerror}", error.errno or errno.EIO) from None


def _check_ready_fd(settings: Settings) -> None:
    """Raises OptionError: the descriptor has not been opened for us to write to."""
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


def _lean_command(settings: Settings) -> list[str]:
    """The words to exec. Raises OptionError."""
    sdnotify = _folder_of("sdnotify")
    if not sdnotify:
        raise OptionError("upperd needs the Python package sdnotify: install it")
    own = os.path.dirname(os.path.abspath(__file__))
    path = dict.fromkeys((os.path.dirname(os.path.dirname(own)), os.path.dirname(sdnotify)))
    # No user's site, no `.pth` file, no variable of the environment decides what is in a process that forks.
    return [sys.executable, "-I", "-S", os.path.join(own, "lean.py"), os.pathsep.join(path), *settings.words()]


if __name__ == "__main__":
    sys.exit(main())
