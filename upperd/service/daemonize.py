"""`upperd --daemonize`: starts the daemon in the background as SysV daemons do, for a host without systemd.

    starter ── fork, and python-daemon: fork, setsid, fork ──> daemon ── exec ──> lean.py, daemon.py
       │ <── "\\n" when ready, else an exit status and the reason ── a pipe, as for --ready-fd ──┘
       └──> exits with 0, or with that status after printing the reason on standard error

The starter waits until the daemon is ready or has failed, without a thread, a time-out or a pid file. If the daemon
ends without a message, the starter reads end of file. The daemon inherits the environment, the umask (022 if that is 0)
and the pipe; its standard streams are /dev/null. Its working folder is /, so every path is first made absolute, also in
the command line that a reload reads. It logs to syslog.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from upperd.base.paths import is_abstract
from upperd.base.streams import complain, open_null
from upperd.service import log
from upperd.service.options import OptionError, flag
from upperd.service.settings import Settings

EX_OK = 0
EX_SOFTWARE = 70
"""The daemon ended without saying why."""
EX_OSERR = 71
"""No process could be started."""

_SUPERVISED = ("NOTIFY_SOCKET", "LISTEN_FDS", "INVOCATION_ID")


def refuse_supervised(environ: Mapping[str, str]) -> None:
    """Raise OptionError under systemd, which would lose track of a daemon that goes into the background."""
    for name in filter(environ.get, _SUPERVISED):
        raise OptionError(f"{name} is set, so systemd supervises this process: use Type=notify without --daemonize")


def start(settings: Settings, flags: Mapping[str, Any], make_command: Callable[[Settings], list[str]]) -> int:
    """Start the daemon in the background; returns our exit status when the daemon is ready or has failed.

    `flags`: the command line from which `settings` were made. `make_command`: makes the command line to exec from
    settings. Raises OptionError.
    """
    if os.getpid() == 1:
        raise OptionError("the container ends when process 1 exits: leave out --daemonize")
    if settings.ready_fd:
        raise OptionError("--ready-fd is for a supervisor, which needs upperd in the foreground: leave out --daemonize")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while we wait ends us without a traceback
    reading, writing = os.pipe()
    context = _make_context(writing)
    _make_absolute(settings, dict(flags))
    settings.syslog, settings.journal = log.SYSLOG_SOCKET, False
    settings.starter = writing
    command = make_command(settings)
    try:
        forked = os.fork()
    except OSError as error:
        return _fail(EX_OSERR, _cannot(error))
    if forked == 0:
        _become_daemon(context, writing, command)
    os.close(writing)
    os.waitpid(forked, 0)
    with open(reading, encoding="utf-8", errors="replace") as daemon:
        said = daemon.readline()
    if said == "\n":
        return EX_OK
    status, _, reason = said.partition(" ")
    if not reason:
        return _fail(EX_SOFTWARE, "the daemon ended before it was ready; start it without --daemonize to see why")
    return _fail(int(status), reason)


def _make_context(starter: int) -> Any:
    """A context of python-daemon, with our values for every default that would surprise an operator."""
    try:
        from daemon import DaemonContext
    except ImportError:
        raise OptionError("--daemonize needs the Python package python-daemon") from None
    mask = os.umask(0o022)
    os.umask(mask)
    # Without these three, python-daemon opens /dev/null as 0, 1 and 2 with close-on-exec, so exec would close them.
    null = open(open_null(), "r+b", buffering=0)  # noqa: SIM115  # open as long as this process lives
    return DaemonContext(
        detach_process=True,  # its own guess is wrong if our parent is process 1
        umask=mask or 0o022,  # its default, 0, would make new files writable by any user
        prevent_core=False,  # the limit of core files is the operator's choice
        signal_map={},  # the daemon sets its own handlers after exec
        files_preserve=[starter],
        stdin=null,
        stdout=null,
        stderr=null,
    )


def _make_absolute(settings: Settings, flags: dict[str, Any]) -> None:
    """Make every path absolute. A path from the file becomes a flag, which wins over the file at a reload."""
    if "config" in flags:
        flags["config"] = os.path.abspath(flags["config"])
    for name in ("socket", "datagram", "scoreboard", "pid_file"):
        path = getattr(settings, name)
        if path and not os.path.isabs(path) and not (name in ("socket", "datagram") and is_abstract(path)):
            flags[name] = os.path.abspath(path)
            setattr(settings, name, flags[name])
    for name, value in (("handler", settings.handler), ("python_path", settings.python_path.split(os.pathsep))):
        if value and value != [""]:  # already absolute
            flags[name] = value if isinstance(value, str) else tuple(value)
    settings.arguments = tuple(
        f"--{flag(name)}" if each is True else f"--{flag(name)}={each}"
        for name, value in flags.items()
        for each in (value if isinstance(value, tuple) else (value,))  # an option that may be repeated
    )


def _become_daemon(context: Any, starter: int, command: list[str]) -> NoReturn:
    what = ""
    try:
        context.open()
        os.set_inheritable(starter, True)
        what = f"{command[0]}: "
        os.execv(command[0], command)
    except OSError as error:
        os.write(starter, f"{EX_OSERR} {_cannot(error, what)}".encode())
    finally:
        os._exit(EX_OSERR)


def _cannot(error: OSError, what: str = "") -> str:
    return f"cannot go into the background: {what}{error.strerror or error}"


def _fail(status: int, reason: str) -> int:
    complain("upperd", reason)
    return status
