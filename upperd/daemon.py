"""The lean parent: wires the parts together, and lives their life.

    cli.py ── exec ──> lean.py ──> daemon.py
                                      │
            listeners.py   what to listen on, and what of it is ours
            scoreboard.py  the table in shared memory
            server.py      UnixServer, TCPServer ── handler.py ── transform.py
            parent.py      forks, reaps, tops up, drains ── child.py, children.py, link.py, drain.py, throttle.py,
                           observer.py
            reporter.py    what to say ── notify.py, log.py

The life, as `run` has it: listen, first spare children, READY=1, the loop, SIGTERM, STOPPING=1, drain, end.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time

from upperd import __version__, listeners, locks, log, paths, scoreboard, settings
from upperd.child import SharedSignals
from upperd.handler import UpperHandler
from upperd.log import Log
from upperd.notify import Notifier
from upperd.parent import Parent
from upperd.rehearsal import rehearse
from upperd.reporter import Reporter
from upperd.server import TCPServer, UnixServer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from upperd.listeners import Listener
    from upperd.settings import Settings

EX_OK = 0
EX_SOFTWARE = 70
EX_CANTCREAT = 73
"""Nothing to listen on can be had."""
EX_TEMPFAIL = 75
"""Another daemon is running."""
EX_CONFIG = 78
"""The manager passed something else than listening stream sockets."""


class Daemon:
    """One daemon: its listeners, its scoreboard, its parent of children."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._log = Log(settings.log_level, journal=settings.journal)
        self._notifier = Notifier(settings.notify_socket)
        self._listeners: list[Listener] = []
        self._scoreboard_lock = -1
        self._stop_requests = 0

    def run(self) -> int:
        """Live the daemon's life; returns the exit status."""
        try:
            self._listen()
        except listeners.ListenerError as error:
            return self._fail(error)
        self._board = self._make_scoreboard()
        # Whoever stops us before the loop turns is obeyed when it does.
        self._parent: Parent | None = None
        self._signals = SharedSignals(self._on_signal)
        self._warm_up()
        self._parent = parent = self._make_parent()
        if not self._stop_requests:
            parent.top_up()
            self._announce()
            parent.run()
        self._drain(parent)
        return EX_OK

    # Beginning

    def _listen(self) -> None:
        """Open every listener: those passed, else the path, else (or beside it) TCP."""
        settings = self._settings
        if settings.warning:
            self._log.write(log.WARNING, "starting", settings.warning)
        self._listeners = [listeners.adopt(*passed) for passed in settings.passed()]
        if not (settings.no_socket or self._listeners):
            self._listen_on_path()
        if settings.tcp:
            self._listeners += listeners.bind_tcp(settings.tcp)
        if settings.max_children < len(self._listeners):
            raise listeners.ListenerError(
                f"max-children is {settings.max_children}, but there are {len(self._listeners)} listeners: "
                "each needs a child of its own; raise --max-children"
            )

    def _listen_on_path(self) -> None:
        settings = self._settings
        folder_of = os.geteuid() if settings.default_socket else None
        try:
            self._listeners.append(listeners.bind_unix(settings.socket, default_folder_of=folder_of))
        except listeners.ListenerError as error:
            if not (error.may_fall_back and settings.fallback):
                raise
            self._log.write(log.WARNING, "starting", f"{error}; listening on TCP instead")
            if not settings.tcp:
                self._listeners += listeners.bind_tcp(settings.fallback)

    def _make_scoreboard(self) -> scoreboard.Scoreboard:
        """The file, else anonymous memory: no statistics from outside are better than no service."""
        settings = self._settings
        unix = [listener.path for listener in self._listeners if listener.path]
        path = settings.scoreboard or paths.scoreboard_of(unix[0] if unix else settings.socket)
        try:
            if not settings.scoreboard and not unix:
                paths.make_default_folder(settings.socket, os.geteuid())
            self._scoreboard_lock = locks.take(paths.lock_of(path))
            board = scoreboard.Scoreboard(path, settings.max_children)
        except (OSError, paths.FolderError, locks.LockedError) as error:
            reason = f"no scoreboard at {path}: {error}; upperctl will have no statistics"
            self._log.write(log.WARNING, "starting", reason)
            board = scoreboard.Scoreboard(None, settings.max_children)
        for name in ("max_children", "spare_children", "connections_per_child"):
            board[name] = getattr(settings, name)
        board["drain_timeout_usec"] = int(settings.drain_timeout * 1e6)
        board.describe(__version__, [listener.describe() for listener in self._listeners])
        return board

    def _warm_up(self) -> None:
        """Do once what every child would do for the first time; then keep the collector from touching it."""
        gc.collect()
        gc.disable()
        try:
            rehearse(self._make_server, self._signals)
        except OSError as error:
            self._log.write(log.DEBUG, "starting", f"not warmed up: {error}")
        gc.freeze()

    def _make_parent(self) -> Parent:
        settings = self._settings
        self._reporter = Reporter(self._board, self._log, self._notifier, settings.watchdog_usec)
        parent = Parent(
            self._board,
            max_children=settings.max_children,
            spare_children=settings.spare_children,
            observer=self._reporter,
        )
        parent.keep_descriptors = False
        parent.signals = self._signals
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        # What is read is not needed: the handler has left its note, and the loop turns.
        parent.watch(reading, lambda: os.read(reading, 512))
        for listener in self._listeners:
            parent.add(self._make_server(listener.socket))
        return parent

    def _make_server(self, listening: socket.socket) -> UnixServer | TCPServer:
        server_class = UnixServer if listening.family == socket.AF_UNIX else TCPServer
        server = server_class(listening, UpperHandler)
        server.connections_per_child = self._settings.connections_per_child
        return server

    def _announce(self) -> None:
        """Every listener listens, its spare children wait: ready."""
        self._board["phase"] = scoreboard.READY
        self._reporter.phase = ""
        where = ", ".join(listener.describe() for listener in self._listeners)
        self._log.write(log.INFO, "ready", f"upperd {__version__} on {where}", pid=os.getpid())
        self._notifier.send("READY=1", f"STATUS={self._reporter.status()}")

    # Ending

    def _on_signal(self, signum: int) -> None:
        """What a signal leaves for the loop: the first one drains, the next one ends at once."""
        if signum not in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            return
        self._stop_requests += 1
        if self._parent is None:
            return
        if self._stop_requests == 1:
            self._parent.stop()
        else:
            self._parent.hasten()

    def _drain(self, parent: Parent) -> None:
        timeout, end = self._settings.drain_timeout, time.monotonic() + self._settings.drain_timeout
        self._board["phase"] = scoreboard.DRAINING
        self._reporter.phase = "draining"
        self._notifier.send("STOPPING=1", f"STATUS={self._reporter.status()}")
        self._log.write(log.INFO, "drain", f"ending, within {timeout:g} s", busy=self._board.busy())
        for listener in self._listeners:
            listener.unlink()
        parent.serve_backlog(end, [x.socket for x in self._listeners if not x.activated])
        parent.drain(max(0.0, end - time.monotonic()) if self._stop_requests == 1 else 0.0)
        self._reporter.flush()
        self._board["phase"] = scoreboard.STOPPED
        board = self._board
        self._log.write(
            log.INFO, "exiting", f"served {board['connections']} connections",
            connections=board["connections"], cut=board["cut"], killed=board["killed"], crashed=board["crashed"],
        )
        for listener in self._listeners:
            listener.close()

    def _fail(self, error: listeners.ListenerError) -> int:
        """Say why there is no daemon: to the manager, and in the log."""
        self._notifier.send(f"STATUS={error}")
        self._log.write(log.ERROR, "exiting", str(error))
        for listener in self._listeners:
            listener.unlink()
            listener.close()
        if isinstance(error, listeners.AlreadyRunningError):
            return EX_TEMPFAIL
        return EX_CONFIG if isinstance(error, listeners.ActivationError) else EX_CANTCREAT


def main(words: list[str]) -> int:
    """Be the daemon that these settings describe; returns its exit status."""
    try:
        daemon = Daemon(settings.parse(words))
    except ValueError as error:
        print(f"upperd: {error}", file=sys.stderr)
        return EX_SOFTWARE
    _set_name()
    return daemon.run()


def _set_name() -> None:
    """Be `upperd` in ps(1) and pgrep(1), not `python3` (proc(5), comm)."""
    try:
        with open("/proc/self/comm", "w") as comm:
            comm.write("upperd")
    except OSError:
        pass  # a name is not worth failing for
