"""`upperd --daemonize`: into the background, the SysV way, for a host without systemd.

    starter ── fork, and python-daemon: fork, setsid, fork ──> daemon ── exec ──> lean.py, daemon.py
       │ <── "\\n" when it serves, else an exit status and why ── a pipe, as by --ready-fd ──┘
       └──> exits: with 0, else with that status, and the reason on standard error

The starter returns when it is known how the start went, not before; no thread, no time-out, no pid guessed from a file.
The end of the pipe tells when the daemon ends without a word. The daemon inherits the environment, an umask that is not
0, /dev/null three times, and nothing else. Its folder is /, so every path is made absolute first, in the command line
that a reload reads, too. It logs to syslog.
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
"""The daemon ended without a word."""
EX_OSERR = 71
"""No process could be started."""

_SUPERVISED = ("NOTIFY_SOCKET", "LISTEN_FDS", "INVOCATION_ID")


def refuse_supervised(environ: Mapping[str, str]) -> None:
    """Raise OptionError under systemd: it would lose sight of a daemon that goes into the background."""
    for name in filter(environ.get, _SUPERVISED):
        raise OptionError(f"{name} is set, so systemd supervises this process: use Type=notify without --daemonize")


def start(settings: Settings, flags: Mapping[str, Any], make_command: Callable[[Settings], list[str]]) -> int:
    """Start the daemon in the background; returns our exit status when it is ready or has failed.

    `flags` is the command line that `settings` were made of, `make_command` gives the words to exec for them. Raises
    OptionError.
    """
    if os.getpid() == 1:
        raise OptionError("the end of process 1 is that of its container: leave out --daemonize")
    if settings.ready_fd:
        raise OptionError("--ready-fd is for a supervisor, which keeps us in the foreground: leave out --daemonize")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C while we wait: end, without a traceback
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
    """python-daemon, with every default that surprises said otherwise."""
    try:
        from daemon import DaemonContext
    except ImportError:
        raise OptionError("--daemonize needs the Python package python-daemon") from None
    mask = os.umask(0o022)
    os.umask(mask)
    # Not its own /dev/null: it opens that anew as 0, 1 and 2, close-on-exec, and exec would leave us without.
    null = open(open_null(), "r+b", buffering=0)  # noqa: SIM115  # open as long as this process lives
    return DaemonContext(
        detach_process=True,  # its own guess is wrong where our parent is process 1
        umask=mask or 0o022,  # its default is 0: any user could write to our socket
        prevent_core=False,  # a limit is the operator's
        signal_map={},  # exec resets them anyway
        files_preserve=[starter],
        stdin=null,
        stdout=null,
        stderr=null,
    )


def _make_absolute(settings: Settings, flags: dict[str, Any]) -> None:
    """Have no path depend on the folder we are in. One of the file's becomes a flag, which wins at a reload."""
    if "config" in flags:
        flags["config"] = os.path.abspath(flags["config"])
    for name in ("socket", "datagram", "scoreboard", "pid_file"):
        path = getattr(settings, name)
        if path and not os.path.isabs(path) and not (name in ("socket", "datagram") and is_abstract(path)):
            flags[name] = os.path.abspath(path)
            setattr(settings, name, flags[name])
    for name, value in (("handler", settings.handler), ("python_path", settings.python_path.split(os.pathsep))):
        if value and value != [""]:  # absolute by now
            flags[name] = value if isinstance(value, str) else tuple(value)
    settings.arguments = tuple(
        f"--{flag(name)}" if each is True else f"--{flag(name)}={each}"
        for name, value in flags.items()
        for each in (value if isinstance(value, tuple) else (value,))  # what may be repeated
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
