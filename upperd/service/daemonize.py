"""`upperd --daemonize`: into the background, the SysV way, for a host without systemd.

    starter ── fork, and python-daemon: fork, setsid, fork ──> the daemon to be ── exec ──> lean.py, daemon.py
       │ <── its pid, and a descriptor of the process (or why not) ── `line` ─┘                │
       │ <── READY=1, or STATUS= and EXIT_STATUS= ── `notices`, as its NOTIFY_SOCKET ──────────┘
       └──> exits: with 0 when the daemon serves, else with the daemon's own status and its reason on standard error

The law: the starter returns when it is known how the start went, not before; no thread, no time-out, no pid guessed
from a file. The process descriptor (pidfd_open(2)) tells when the daemon ends without a word. What the daemon inherits
is the environment, an umask that is not 0, /dev/null three times, and nothing else: its folder is /, so every path is
made absolute first, in the command line that a reload reads, too. It says what it has to say to syslog, and after
READY=1 nothing to the starter, who is gone.
"""

from __future__ import annotations

import os
import select
import shlex
import signal
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from upperd.base.paths import is_abstract
from upperd.service import log
from upperd.service.options import OptionError, flag

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from upperd.service.settings import Settings

EX_OK = 0
EX_SOFTWARE = 70
"""The daemon ended without a word."""
EX_OSERR = 71
"""There is no process to be had."""

_SUPERVISED = ("NOTIFY_SOCKET", "LISTEN_FDS", "INVOCATION_ID")
_PATHS = ("socket", "datagram", "scoreboard", "pid_file")
_CREDENTIALS = struct.Struct("=III")  # struct ucred (unix(7)): pid, uid, gid


def refuse_supervised(environ: Mapping[str, str]) -> None:
    """Raise OptionError under systemd: it would lose sight of a daemon that leaves."""
    for name in _SUPERVISED:
        if environ.get(name):
            raise OptionError(
                f"{name} is set, so systemd supervises this process: use Type=notify without --daemonize"
            )


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
    context = _make_context()
    _make_absolute(settings, dict(flags))
    settings.syslog, settings.journal = log.SYSLOG_SOCKET, False
    settings.starter = True
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        notices.bind("")  # the kernel chooses an abstract name (unix(7), "Autobind feature")
        settings.notify_socket = f"@{notices.getsockname()[1:].decode()}"
        line = _fork(context, make_command(settings))
        with line:
            return _await(line, notices)


def _make_absolute(settings: Settings, flags: dict[str, Any]) -> None:
    """Have no path depend on the folder we are in. One of the file's becomes a flag, which wins at a reload."""
    if "config" in flags:
        flags["config"] = os.path.abspath(flags["config"])
    for name in _PATHS:
        path = getattr(settings, name)
        if path and not os.path.isabs(path) and not (name in ("socket", "datagram") and is_abstract(path)):
            flags[name] = os.path.abspath(path)
            setattr(settings, name, flags[name])
    settings.arguments = shlex.join(_words(flags))


def _words(flags: dict[str, Any]) -> list[str]:
    """A command line that says just this; what may be repeated is said once for each of its values."""
    words = []
    for name, value in flags.items():
        for each in value if isinstance(value, tuple) else (value,):
            words.append(f"--{flag(name)}" if each is True else f"--{flag(name)}={each}")
    return words


def _make_context() -> Any:
    """python-daemon, with every default that surprises said otherwise."""
    try:
        from daemon import DaemonContext
    except ImportError:
        raise OptionError("--daemonize needs the Python package python-daemon") from None
    mask = os.umask(0o022)
    os.umask(mask)
    # Not its own /dev/null: it opens that anew as 0, 1 and 2, close-on-exec, and exec would leave us without.
    null = open(os.devnull, "r+b", buffering=0)  # noqa: SIM115  # for as long as we are
    return DaemonContext(
        detach_process=True,  # its own guess is wrong where our parent is process 1
        umask=mask or 0o022,  # its default is 0: everybody could write to our socket
        prevent_core=False,  # a limit is the operator's
        signal_map={},  # exec makes an end of handlers
        files_preserve=[],
        stdin=null,
        stdout=null,
        stderr=null,
    )


# The daemon to be


def _fork(context: Any, command: list[str]) -> socket.socket:
    """Fork the daemon to be. Returns the line on which it tells who it is."""
    line, far = socket.socketpair()
    with far:
        context.files_preserve.append(far)
        try:
            forked = os.fork()
        except OSError as error:
            _tell_failure(far, error)
            return line
        if forked == 0:
            _leave(context, far, command)
    os.waitpid(forked, 0)
    return line


def _leave(context: Any, far: socket.socket, command: list[str]) -> NoReturn:
    try:
        context.open()
        pid = os.getpid()
        socket.send_fds(far, [b"%d" % pid], [os.pidfd_open(pid)])
        os.execv(command[0], command)
    except OSError as error:
        _tell_failure(far, error)
    finally:
        os._exit(EX_OSERR)


def _tell_failure(far: socket.socket, error: OSError) -> None:
    far.sendall(f"cannot go into the background: {error}".encode())


# The starter


def _await(line: socket.socket, notices: socket.socket) -> int:
    """Wait until the daemon is ready, or has ended."""
    said, descriptors, _, _ = socket.recv_fds(line, 4096, 1)
    if not descriptors:
        return _fail(EX_OSERR, said.decode() or "killed on the way into the background")
    daemon = descriptors[0]
    poll = select.poll()
    poll.register(daemon, select.POLLIN)
    poll.register(notices, select.POLLIN)
    told: dict[str, str] = {}
    has_ended = False
    while not has_ended:
        has_ended = daemon in dict(poll.poll())
        while (message := _receive(notices, int(said))) is not None:
            told.update(_assignments(message))
        if "READY" in told:
            return EX_OK
    if "EXIT_STATUS" in told:
        return _fail(int(told["EXIT_STATUS"]), told.get("STATUS", ""))
    silent = "the daemon ended before it was ready; start it without --daemonize to see why"
    return _fail(EX_SOFTWARE, line.recv(4096).decode() or silent)


def _receive(notices: socket.socket, pid: int) -> bytes | None:
    """The next notice, empty where it is not the daemon's: anybody may find the name. None: there is no more."""
    try:
        message, rights, _, _ = notices.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size), socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    for level, kind, data in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS) and _CREDENTIALS.unpack(data)[0] == pid:
            return message
    return b""


def _assignments(message: bytes) -> dict[str, str]:
    pairs = (line.partition("=") for line in message.decode("utf-8", "replace").split("\n"))
    return {name: value for name, _, value in pairs if name}


def _fail(status: int, reason: str) -> int:
    print(f"upperd: {reason}", file=sys.stderr)
    return status
