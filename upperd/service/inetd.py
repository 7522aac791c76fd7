"""`upperd --inetd`: one connection, accepted by somebody else, served by this very process.

    inetd, xinetd, or systemd with Accept=yes ── accepts, forks, execs ──> upperd --inetd ── handler.py

The connection is standard input (StandardInput=socket), else the one socket that systemd passed. It takes the place of
the listener in the server of server.py, so it has the same options, and ends in the same way, as one of the daemon's.
What the daemon's parent does for a child is done here by a timer: it repeats the drain's signal as drain.py says, cuts
at the deadline, and gives up two seconds later.

The law: nothing but answers is ever written to the client. inetd hands the connection out as standard output and error,
too, so these are made /dev/null before anything is said.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import stat
import time
from typing import TYPE_CHECKING, Any

from upperd.server import layout, scoreboard
from upperd.server.drain import Drain
from upperd.server.limits import arm_again
from upperd.server.mixin import TCPServer, UnixServer
from upperd.server.observer import End
from upperd.server.signals import CUT, DRAIN
from upperd.service import log
from upperd.service.guard import guard_of
from upperd.service.log import Log
from upperd.service.manager import ManagerError
from upperd.service.notify import Notifier
from upperd.service.options import OptionError, flag
from upperd.service.policy import Policy
from upperd.service.reporter import Reporter
from upperd.upper.handler import UpperHandler

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

    from upperd.service.settings import Settings

EX_OK = 0
EX_SOFTWARE = 70

_FLAGS = (
    *("config", "drain_timeout", "log_level"),
    *("allow_user", "allow_group", "deny_user", "idle_timeout", "max_lifetime", "max_bytes"),
)
"""Options that mean something to one connection. (In a file the others may stand: it may be the daemon's.)"""
_CURE = "--inetd serves one connection that inetd, xinetd or a socket unit with Accept=yes has accepted"
_PULSE_SECONDS = 1.0
"""A signal may come between two instructions, just before recv() is entered. A later one makes up for it."""


def keep_stream_clean() -> None:
    """Where standard output or error is the connection itself, make it /dev/null."""
    for descriptor in (1, 2):
        if _is_same_socket(0, descriptor):
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, descriptor)
            os.close(null)


def _is_same_socket(one: int, other: int) -> bool:
    try:
        status = os.fstat(one)
        return stat.S_ISSOCK(status.st_mode) and os.path.samestat(status, os.fstat(other))
    except OSError:
        return False  # one of them is closed


def refuse_options(flags: Mapping[str, object]) -> None:
    """Raise OptionError for a flag that is about listening or children."""
    for name in flags:
        if name not in _FLAGS:
            raise OptionError(f"--{flag(name)} has no meaning with --inetd: there is no listener and no child")


def serve(settings: Settings) -> int:
    """Serve the connection to its end; returns the exit status. Raises OptionError, ManagerError: there is none."""
    said = Log(settings.log_level, journal=settings.journal)
    if settings.warning:
        said.write(log.WARNING, "starting", settings.warning)
    service = _Service(_take(settings.passed()), settings)
    Notifier(settings.notify_socket).send("READY=1")
    reporter = Reporter(service.board, said, Notifier(""))
    end = service.run()
    reporter.turn(time.monotonic())
    reporter.child_ended(end)
    said.close()
    return service.status


# The connection


def _take(passed: list[tuple[int, str]]) -> socket.socket:
    """The connection: what systemd passed, else standard input."""
    if len(passed) > 1:
        raise ManagerError(f"{len(passed)} sockets were passed: {_CURE}")
    descriptor, name = passed[0] if passed else (0, "")
    what = f"descriptor {descriptor} ({name}) passed by the service manager" if passed else "standard input"
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        raise OptionError(f"{what} is closed: {_CURE}") from None
    if not stat.S_ISSOCK(mode):
        raise OptionError(f"{what} is {_kind(descriptor, mode)}, not a connection: {_CURE}")
    connection = socket.socket(fileno=descriptor)
    complaint = _complaint(connection)
    if complaint:
        connection.detach()
        raise ManagerError(f"{what} {complaint}: {_CURE}")
    os.set_inheritable(descriptor, False)
    connection.setblocking(True)
    return connection


def _kind(descriptor: int, mode: int) -> str:
    if os.isatty(descriptor):
        return "a terminal"
    kinds = {stat.S_IFREG: "a file", stat.S_IFIFO: "a pipe", stat.S_IFDIR: "a folder"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _complaint(sock: socket.socket) -> str:
    if sock.family not in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
        return f"is of address family {int(sock.family)}, neither Unix nor TCP"
    if sock.type != socket.SOCK_STREAM:
        return f"is not a stream socket but {sock.type.name}"
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "is a listening socket (Accept=no; in inetd.conf: wait)"
    return "" if _was_connected(sock) else "is not connected"


def _was_connected(sock: socket.socket) -> bool:
    """A TCP client may be gone already: then the address of our end is left, and no error is due."""
    return _peer_address(sock) is not None or (sock.family != socket.AF_UNIX and sock.getsockname()[1] != 0)


def _peer_address(sock: socket.socket) -> Any:
    try:
        return sock.getpeername()
    except OSError:
        return None


# Serving it


class _OutOfTimeError(BaseException):
    """The time for answering after the cut is over. Not an Exception: no handler is to catch it."""


class _Service:
    """The one connection, its server, and its row in a scoreboard of its own."""

    def __init__(self, connection: socket.socket, settings: Settings) -> None:
        self.board = scoreboard.Scoreboard(slots=1)
        policy = Policy(self.board)
        policy.follow(settings)
        policy.allowance.has_timer = False  # it is ours, for more than limits
        server_class = UnixServer if connection.family == socket.AF_UNIX else TCPServer
        self._server = server_class(connection, UpperHandler, guard_of(connection, policy.guard), policy.allowance)
        self._connection = connection
        self._drain_timeout = settings.drain_timeout
        self._drain: Drain | None = None
        self._is_serving = True
        self._was_killed = False
        self.status = EX_OK

    def run(self) -> End:
        """Serve the connection; return its account. A peer that goes away is no error."""
        index, slot = self.board.claim(0, layout.BUSY)
        self._server.slot = slot
        uid, gid, pid = self._server.peer_credentials(self._connection)
        reason = self._server.refuse_request(self._connection, uid, gid)
        if reason:
            slot.refused(reason)
            slot.deny(uid)
            outcome = layout.REFUSED_OUTCOME
        else:
            slot.connected(uid, gid, pid)
            self._take_signals()
            outcome = self._serve()
            self._ignore_signals()
        if slot.words[layout.OUTCOME] == layout.NONE:
            slot.end(outcome)
        self._server.shutdown_request(self._connection)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        end = End(os.getpid(), self.status << 8, usage, tuple(self.board.words(index)))
        end.was_cut, end.was_killed = end.words[layout.OUTCOME] == layout.CUT, self._was_killed
        return end

    def _serve(self) -> int:
        """The hooks of socketserver, as a child calls them. Returns the outcome."""
        server, connection = self._server, self._connection
        address = _peer_address(connection)
        try:
            if not server.verify_request(connection, address):
                return layout.REFUSED_OUTCOME
            server.finish_request(connection, address)
        except _OutOfTimeError:
            self._was_killed = True
            return layout.CUT
        except Exception:
            server.handle_error(connection, address)
            self.status = EX_SOFTWARE
            return layout.FAILED
        finally:
            self._is_serving = False
        return layout.DONE

    # Ending it

    def _take_signals(self) -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nothing to read anew
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, self._on_signal)
        signal.setitimer(signal.ITIMER_REAL, _PULSE_SECONDS, _PULSE_SECONDS)

    @staticmethod
    def _ignore_signals() -> None:
        """The end has come; or the interpreter, which takes handlers away when it ends, would die of one."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_IGN)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        """The first SIGTERM or SIGINT drains, the next one cuts; SIGALRM does what is due."""
        now = time.monotonic()
        if signum != signal.SIGALRM:
            if self._drain is None:
                self._drain = Drain(now, self._drain_timeout)
            else:
                self._drain.hasten(now)
        if not self._is_serving or self._server.slot is None:
            return
        if self._drain is None:
            arm_again(self._connection, self._server.slot)
            return
        due = self._drain.signal_due(now)
        wait = max(0.001, self._drain.next_deadline() - now)
        signal.setitimer(signal.ITIMER_REAL, wait, _PULSE_SECONDS)
        if due == DRAIN:
            self._server.quiesce_request(self._connection)
        elif due == CUT:
            self._server.cut_request(self._connection)
        elif due is not None:
            raise _OutOfTimeError
