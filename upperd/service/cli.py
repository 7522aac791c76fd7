"""The command `upperd`, called the launcher: reads the options, checks them, and execs the lean parent.

The exec keeps the pid, so LISTEN_PID, WATCHDOG_PID and the manager's main pid stay right. It frees the memory that
parsing and checking took, which every child would otherwise inherit. What the manager says through the environment is
passed on as settings, so neither the parent nor a child ever sees NOTIFY_SOCKET, WATCHDOG_* or LISTEN_*.

An ordinary start imports only what it needs (a test has the list).
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
    """Run `upperd`, or another `program` around a handler (program.py), for which --help shows `purpose`.

    Returns only if this process does not become a daemon. The exit status is 64 for a wrong command line, 71 if the
    system refuses something, 74 if standard output fails, and 78 for a wrong file or handler.
    """
    words, check_only, reloaded = sys.argv[1:] if words is None else words, False, 0
    manager_address, config = os.environ.get("NOTIFY_SOCKET", ""), ""
    try:
        closed = open_closed()
        if "--inetd" in words:  # before anything is printed
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
            _reload(reloaded)  # the daemon finds the same error, keeps its settings, and shows the error in its status
        if manager_address and _folder_of("sdnotify") and not check_only:
            _tell_manager(manager_address, error, config, is_inetd="--inetd" in words)
        if error.has_threads:
            os._exit(error.status)
        return error.status


def _reason(error: OSError | MemoryError | ImportError) -> str:
    try:
        from upperd.server.failure import explain

        return explain(error)
    except (OSError, ImportError):  # that module cannot be read either
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
    """Keep signals for the parent to handle: process 1 of a container would lose them (pid_namespaces(7), kill(2))."""
    import _signal  # type: ignore[import-not-found]  # typeshed does not know it

    _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP))


def _take_mode(flags: dict[str, Any]) -> Callable[[Settings], int]:
    """Take the mode out of `flags` and return what starts it: the daemon here, or in the background, or --inetd."""
    # Both modules are large, so each is imported only for its mode.
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
    """Send SIGHUP to the daemon. Raises OptionError if there is no such process, or if we may not signal it."""
    try:
        os.kill(pid, 1)  # SIGHUP
    except OSError as error:
        raise OptionError(f"reload is {pid}: {error.strerror}", error.errno or errno.ESRCH) from None


def read_options(flags: dict[str, Any]) -> Options:
    """The options of a parsed command line and of the file that it names. Raises OptionError, ConfigError."""
    said = read_config(flags["config"]) if "config" in flags else {}
    said.update(flags)
    said.pop("config", None)
    return Options(**said)


def check_handler(options: Options, path: str) -> None:
    """Load the handler as the parent does, with the folders of `path` added to sys.path. Raises ConfigError."""
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
    """The folders where this process finds modules, less the standard library. The parent finds the handler there."""
    library = os.path.dirname(os.__file__)
    folders = [os.path.abspath(folder) for folder in sys.path if folder not in (library, f"{library}/lib-dynload")]
    return os.pathsep.join(filter(os.path.isdir, folders))


def make_settings(options: Options, words: list[str]) -> Settings:
    """The parent's settings: the options, and what comes from the manager and from this host. Raises ManagerError."""
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
    """The folder of a package; empty if it is not installed."""
    # Does the work of importlib.util.find_spec(), whose module imports a lot.
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
    """Raises OptionError if the descriptor is not open for writing, or is a socket that the manager passed."""
    import fcntl

    what = f"ready-fd is {settings.ready_fd}"
    if settings.ready_fd in dict(settings.passed()):
        raise OptionError(f"{what}: the service manager passed a socket there: choose another", errno.EBADF)
    try:
        mode = fcntl.fcntl(settings.ready_fd, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError:
        cure = f"the supervisor must open it (s6: write {settings.ready_fd} to the file notification-fd)"
        raise OptionError(f"{what}: it is not open: {cure}", errno.EBADF) from None
    if mode == os.O_RDONLY:
        raise OptionError(f"{what}: it is open, but not for writing", errno.EBADF)


def _lean_command(settings: Settings) -> list[str]:
    """The command line to exec. Raises OptionError if the package sdnotify is missing."""
    sdnotify = _folder_of("sdnotify")
    if not sdnotify:
        raise OptionError("upperd needs the Python package sdnotify: install it")
    own = os.path.dirname(os.path.abspath(__file__))
    path = dict.fromkeys((os.path.dirname(os.path.dirname(own)), os.path.dirname(sdnotify)))
    # -I and -S keep the user's site folder, `.pth` files and the environment from adding modules to the parent.
    return [sys.executable, "-I", "-S", os.path.join(own, "lean.py"), os.pathsep.join(path), *settings.words()]


if __name__ == "__main__":
    sys.exit(main())
