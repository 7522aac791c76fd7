"""The lean parent: wires the parts together, and lives their life.

    cli.py ── exec ──> lean.py ──> daemon.py
                                      │
            opening.py     what to open: listeners.py, tcp.py (store.py), scoreboard.py
            warmup.py      what is done once before the first fork ── rehearsal.py, packing.py, titles.py
            server.py      UnixServer, TCPServer ── handler.py ── transform.py
            datagram.py    UnixDatagramServer, UDPServer ── datagram_handler.py;  only where one asks for them
            parent.py      forks, reaps, tops up, drains ── child.py, signals.py, children.py, link.py, passing.py,
                           turns.py, inheritance.py, ending.py, drain.py, throttle.py, lookout.py, observer.py
            policy.py      who may come in, and how much they may take ── guard.py, rates.py, limits.py, overdue.py
            reload.py      SIGHUP ── recheck.py, a process of its own;  idle.py  when to leave
            orphans.py     as process 1 of a container: reap who is not ours
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

from upperd import __version__
from upperd.server import layout
from upperd.server.drain import CUT_SECONDS
from upperd.server.mixin import LINGER_SECONDS, TCPServer, UnixServer, UpperServer
from upperd.server.parent import Parent
from upperd.server.signals import SharedSignals
from upperd.service import listeners, log, packing, settings, titles
from upperd.service.guard import guard_of
from upperd.service.idle import Idle, may_leave
from upperd.service.log import Log
from upperd.service.notify import Notifier, tell_supervisor
from upperd.service.opening import Opening, describe, open_scoreboard
from upperd.service.pidfile import PidFile, PidFileError
from upperd.service.policy import Policy
from upperd.service.reload import Reload
from upperd.service.reporter import Reporter
from upperd.service.tcp import turn_away
from upperd.service.warmup import warm_up
from upperd.upper.handler import UpperHandler

TYPE_CHECKING = False
if TYPE_CHECKING:
    from upperd.service.settings import Settings

EX_OK = 0
EX_SOFTWARE = 70
EX_CANTCREAT = 73
"""Nothing to listen on can be had, or no pid file."""
EX_TEMPFAIL = 75
"""Another daemon is running."""
EX_CONFIG = 78
"""The manager passed something else than sockets to listen on."""


NEWCOMERS_SECONDS = 1.0
"""How long a drain serves the queue of a listener that newcomers still find, so that it may never be empty."""


class Daemon:
    """One daemon: its listeners, its scoreboard, its parent of children."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._log = Log(settings.log_level, journal=settings.journal, syslog=settings.syslog)
        self._pid_file = PidFile(settings.pid_file)
        self._notifier = Notifier(settings.notify_socket)
        self._opening = Opening(settings, self._log, self._notifier)
        self._listeners = self._opening.opened
        self._stop_requests = 0

    def run(self) -> int:
        """Live the daemon's life; returns the exit status."""
        settings = self._settings
        if self._settings.warning:
            self._log.write(log.WARNING, "starting", self._settings.warning)
        if settings.ready_fd:
            os.set_inheritable(settings.ready_fd, False)
        try:
            self._opening.open_all()
        except listeners.ListenerError as error:
            return self._fail(error)
        self._has_abstract = any(listener.abstract for listener in self._listeners)
        self._signals = SharedSignals()
        try:
            self._pid_file.write()
        except PidFileError as error:
            return self._fail(error)
        self._set_title = titles.load(self._settings.titles)
        others = self._load_others()
        try:
            warm_up(self._make_server, lambda policy: policy.follow(settings), self._signals, self._set_title, others)
        except OSError as error:
            self._log.write(log.DEBUG, "starting", f"not warmed up: {error}")
        if self._set_title is not None:
            self._set_title(titles.MAIN)
            _set_name()  # which it has changed, too
        self._board, self._scoreboard_lock = open_scoreboard(self._settings, self._listeners, self._log)
        if packing.is_possible():
            packing.fill_gaps()
        parent = self._make_parent()
        self._settle(parent)
        if os.getpid() == 1:
            self._reap_orphans(parent)
        gc.freeze()  # what there is by now is nothing for the collector to write to, in us or in a child
        self._act_on_signals(parent)  # on those that came before the loop could be woken
        if not self._stop_requests:
            parent.top_up()
            self._announce()
            self._serve(parent)
        self._drain(parent)
        self._pid_file.remove()
        self._signals.block()
        return EX_OK

    # Beginning

    def _make_parent(self) -> Parent:
        settings = self._settings
        self._reporter = Reporter(self._board, self._log, self._notifier, settings.watchdog_usec)
        parent = Parent(
            self._board,
            max_children=settings.max_children,
            spare_children=settings.spare_children,
            observer=self._reporter,
            set_title=self._set_title,
        )
        parent.inheritance.keeps_the_rest = False
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

        def woken() -> None:
            os.read(reading, 512)  # not needed: the handler has left its note
            self._act_on_signals(parent)

        parent.watch(reading, woken)
        self._reload = Reload(parent, settings, self._log, lambda: self._follow(parent), self._reloaded)
        self._idle = Idle(self._board, 0.0, parent.stop, time.monotonic())
        parent.timers.append(self._idle.turn)
        self._set_idle_exit()
        return parent

    def _load_others(self) -> dict[socket.SocketKind, tuple[type, ...]]:
        """What is needed for other listeners than those of streams, where there are any: see warm_up."""
        if not any(listener.is_datagram for listener in self._listeners):
            return {}
        from upperd.service import datagram

        return {socket.SOCK_DGRAM: datagram.OF_CHILDREN}

    def _settle(self, parent: Parent) -> None:
        """Make last, and side by side, what a child writes to (see packing.py)."""
        self._first_signals = before = self._signals  # kept: freed, it were a gap
        if packing.is_possible():
            packing.fill_gaps()
        self._board.settle()
        self._signals = parent.forker.signals = before.anew()
        self._policy = policy = Policy(self._board)
        for listener in self._listeners:
            parent.add(self._make_server(listener.socket, policy))
        parent.forker.settle()
        policy.see_to(parent, lambda: self._reporter.at_rest)
        policy.follow(self._settings)
        if packing.is_possible():
            packing.use_up_lists()

    def _reap_orphans(self, parent: Parent) -> None:
        """As process 1 of a container."""
        from upperd.service.orphans import Orphans

        self._orphans = Orphans(lambda: {*parent.pids(), self._reload.pid})
        parent.timers.append(self._orphans.turn)
        self._signals.note(signal.SIGCHLD)

    def _make_server(self, listening: socket.socket, policy: Policy) -> UpperServer:
        # Only where it is needed: the rehearsal's listener is abstract, too.
        guard = guard_of(listening, policy.guard) if self._has_abstract else policy.guard
        server: UpperServer
        if listening.type == socket.SOCK_DGRAM:
            from upperd.service import datagram

            server = datagram.make_server(listening, guard)
        else:
            server_class = UnixServer if listening.family == socket.AF_UNIX else TCPServer
            server = server_class(listening, UpperHandler, guard, policy.allowance)
        server.connections_per_child = self._settings.connections_per_child
        return server

    def _announce(self) -> None:
        """Every listener listens, its spare children wait: ready."""
        self._board["phase"] = layout.READY
        self._reporter.phase = ""
        where = ", ".join(describe(self._listeners, self._settings))
        self._log.write(log.INFO, "ready", f"upperd {__version__} on {where}", pid=os.getpid())
        self._notifier.send("READY=1", f"STATUS={self._reporter.status()}")
        if self._settings.starter:
            self._notifier.close()
        if self._settings.ready_fd and (problem := tell_supervisor(self._settings.ready_fd)):
            what = f"descriptor {self._settings.ready_fd} (--ready-fd) takes no newline ({problem}), ignoring"
            self._log.write(log.WARNING, "notify", what)

    # Serving

    def _serve(self, parent: Parent) -> None:
        """Serve until we are told to end, or nobody needs us."""
        parent.run()
        while not self._stop_requests and not may_leave(parent, [listener.socket for listener in self._listeners]):
            parent.run()
        if not self._stop_requests:
            self._log.write(log.INFO, "idle", f"nothing to do for {self._settings.idle_exit:g} s")

    def _set_idle_exit(self) -> None:
        """Take the setting, where somebody would start us again."""
        seconds = self._settings.idle_exit
        if seconds and not all(listener.activated for listener in self._listeners):
            seconds = 0.0
            self._log.write(log.WARNING, "idle", "idle-exit is ignored: no manager listens for us while we are away")
        self._idle.seconds = seconds

    def _follow(self, parent: Parent) -> None:
        """Do as the settings say, which a reload has changed."""
        settings = self._settings
        self._log.set_level(settings.log_level)
        self._set_idle_exit()
        for server in parent.servers:
            server.connections_per_child = settings.connections_per_child
        self._reporter.flush()  # who was refused by the old rules; by the new ones perhaps nobody is
        if self._has_abstract:
            self._board.describe(__version__, describe(self._listeners, settings))
        self._policy.follow(settings)  # before the children are retired: who is busy looks at the rules then
        parent.limit(settings.max_children, settings.spare_children)
        parent.retire()

    def _reloaded(self, problem: str) -> None:
        """A reload is over: tell the manager in any case."""
        if not self._stop_requests:
            self._reporter.phase = f"reload failed: {problem}" if problem else ""
            self._notifier.send("READY=1", f"STATUS={self._reporter.status()}")

    # Signals

    def _act_on_signals(self, parent: Parent) -> None:
        """Begin what the signals ask for. The first one that ends us drains, the next one ends at once."""
        for number in self._signals.take():
            if number == signal.SIGHUP and not self._stop_requests:
                now_usec = time.monotonic_ns() // 1000
                self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={now_usec}", "STATUS=reloading")
                self._reload.begin()
            elif number == signal.SIGCHLD:
                self._orphans.child_ended()
            elif number in (signal.SIGTERM, signal.SIGINT):
                self._stop_requests += 1
                if self._stop_requests == 1:
                    parent.stop()
                else:
                    parent.hasten()

    # Ending

    def _drain(self, parent: Parent) -> None:
        timeout, end = self._settings.drain_timeout, time.monotonic() + self._settings.drain_timeout
        self._board["phase"] = layout.DRAINING
        self._reporter.phase = "draining"
        longest = int((timeout + CUT_SECONDS + LINGER_SECONDS + 1) * 1e6)
        self._notifier.send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={longest}", f"STATUS={self._reporter.status()}")
        self._log.write(log.INFO, "drain", f"ending, within {timeout:g} s", busy=self._board.busy())
        for listener in self._listeners:
            listener.unlink()
            turn_away(listener)
        self._serve_backlog(parent, end)
        for listener in self._listeners:
            listener.end()
        parent.drain(max(0.0, end - time.monotonic()) if self._stop_requests == 1 else 0.0)
        self._reporter.flush()
        self._board["phase"] = layout.STOPPED
        board = self._board
        self._notifier.send(f"STATUS=stopped: served {board['connections']} connections")
        self._log.write(
            log.INFO, "exiting", f"served {board['connections']} connections",
            connections=board["connections"], cut=board["cut"], killed=board["killed"], crashed=board["crashed"],
        )
        self._opening.close()

    def _serve_backlog(self, parent: Parent, end: float) -> None:
        """Serve who is queued on what we have bound; who waits on an activated listener is its manager's to keep."""
        bound = [listener for listener in self._listeners if not listener.activated]
        parent.serve_backlog(min(end, time.monotonic() + NEWCOMERS_SECONDS), [x.socket for x in bound])
        if self._stop_requests == 1:
            parent.serve_backlog(end, [x.socket for x in bound if not x.can_be_found])

    def _fail(self, error: listeners.ListenerError | PidFileError) -> int:
        """Say why there is no daemon: to the manager, and in the log."""
        status = _exit_status(error)
        self._notifier.send(f"STATUS={error}", f"ERRNO={error.errno}", f"EXIT_STATUS={status}")
        self._log.write(log.ERROR, "exiting", str(error))
        self._opening.close()
        return status


def _exit_status(error: Exception) -> int:
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
