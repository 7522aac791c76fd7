"""The daemon: builds its parts, and runs them from start to exit.

    cli.py ── exec ──> lean.py ──> daemon.py
                                     │
            opening.py     what to open: activation.py, binding.py, tcp.py, the scoreboard
            servers.py     UnixServer, TCPServer; datagram.py only where datagrams are asked for
            loading.py     the handler's class: upper/, or what --handler names
            policy.py      which peers may connect, and how much they may take
            reload.py      SIGHUP ── recheck.py, a process of its own;  idle.py  when to leave
            orphans.py     reap the orphans that the kernel gave us as children
            reporter.py    what to say ── records.py, notify.py, log.py

The steps of `run`: listen, fork the first spare children, READY=1, loop, SIGTERM, STOPPING=1, drain, exit.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from upperd import __version__
from upperd.base.streams import complain
from upperd.base.text import plural
from upperd.server import layout
from upperd.server.parent import Parent
from upperd.server.patrol import CUT_SECONDS
from upperd.server.session import LINGER_SECONDS
from upperd.server.signals import Notes
from upperd.service import log, retries, settings, titles
from upperd.service.host import RefusedError, raise_descriptor_limit
from upperd.service.idle import IdleExit
from upperd.service.listeners import StartError
from upperd.service.loading import Handlers
from upperd.service.log import Log
from upperd.service.notify import LAST_WORDS_SECONDS, Notifier, tell_supervisor
from upperd.service.opening import Opening, describe
from upperd.service.orphans import Orphans, of_process_one
from upperd.service.pidfile import PidFile
from upperd.service.policy import Policy
from upperd.service.privacy import close_memory
from upperd.service.reload import Reload
from upperd.service.reporter import Reporter
from upperd.service.servers import make_server
from upperd.service.settings import Settings
from upperd.service.tcp import handshakes, turn_away
from upperd.service.terminal import Terminal
from upperd.service.upkeep import Upkeep

EX_OK = 0
EX_SOFTWARE = 70
NEWCOMERS_SECONDS = 1.0
"""How long a drain serves the backlog of a listener that new clients still find: it may never be empty."""


class Daemon:
    """One daemon: its listeners, its scoreboard, its parent of children."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._log = Log(settings.log_level, settings.name, journal=settings.journal, syslog=settings.syslog)
        self._policy = Policy(settings)
        self._pid_file = PidFile(settings.pid_file)
        self._notifier = Notifier(settings.notify_socket)
        self._opening = Opening(settings, self._log, self._notifier)
        self._listeners = self._opening.opened
        self._ready_fd = settings.ready_fd or settings.starter
        self._stop_requests = 0
        self._terminal = Terminal(is_supervised=bool(settings.notify_socket))

    def run(self) -> int:
        """Run until a signal or the idle time ends the daemon; returns the exit status."""
        try:
            return self._live()
        except StartError as error:
            return self._fail(error)
        except (OSError, MemoryError, ImportError) as error:
            return self._fail(RefusedError(error))

    def _live(self) -> int:
        """The same. Raises StartError, and OSError, MemoryError or ImportError where the system refuses something."""
        settings = self._settings
        if settings.warning:
            self._log.write(log.WARNING, "starting", settings.warning)
        if self._ready_fd:
            os.set_inheritable(self._ready_fd, False)
        self._descriptors_of_a_child = raise_descriptor_limit()
        handlers = Handlers(settings, settings.import_path)
        self._opening.open_all()
        self._servers = [make_server(listener, handlers, self._policy) for listener in self._listeners]
        self._signals = Notes(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, *of_process_one())
        self._pid_file.write()
        parent = self._make_parent()
        self._act_on_signals(parent)  # signals that came before the loop could be woken
        if not self._stop_requests:
            parent.begin()
            while not (self._stop_requests or _serves_all(parent)):  # a fork may fail (RLIMIT_NPROC)
                parent.turn()
        if not self._stop_requests:
            self._announce()
            self._serve(parent)
        self._drain(parent)
        self._pid_file.remove()
        self._signals.block()
        return EX_OK

    # Beginning

    def _make_parent(self) -> Parent:
        settings = self._settings
        counters = tuple(dict.fromkeys(name for server in self._servers for name in server.counters))
        self._board = self._opening.open_scoreboard(counters)
        self._reporter = Reporter(self._board, self._log, self._notifier, settings.watchdog_usec, counters)
        self._reporter.name = settings.name
        self._policy.say(settings, self._board)
        self._parent = parent = Parent(self._board, self._policy.limits, self._reporter, titles.load(settings.name))
        parent.forker.closes_everything = True
        parent.forker.descriptors_of_a_child = self._descriptors_of_a_child
        # At this point the process title has been written, and no child has been forked.
        if problem := close_memory():
            what = f"{problem}: children can read the memory of each other and of the parent"
            self._log.write(log.WARNING, "starting", what)
        for server in self._servers:
            server.connections_per_child = settings.connections_per_child
            server.parent = parent
            parent.add(server)
        upkeep = Upkeep(parent, self._opening, self._servers, self._log, self._pid_file)
        self._reload = Reload(parent, settings, self._log, lambda: self._follow(parent), self._reloaded)
        self._reload.renew = upkeep.renew
        self._idle = IdleExit(parent)
        self._notifier.wake = parent.loop.call_timers
        parent.loop.timers += [self._notifier.turn, self._reporter.turn, self._idle.turn]
        self._idle.take(settings.idle_exit, self._listeners, self._log)
        self._signals.wake(parent.loop.watch, lambda: self._act_on_signals(parent))
        self._orphans = Orphans(lambda: {*parent.pids(), self._reload.pid}, is_told=bool(of_process_one()))
        parent.loop.timers.append(self._orphans.turn)
        return parent

    def _announce(self) -> None:
        """Say that we are ready: every listener has spare children."""
        settings = self._settings
        self._board["phase"] = layout.READY
        self._reporter.phase = ""
        where = ", ".join(describe(self._listeners, settings))
        self._log.write(log.INFO, "ready", f"upperd {__version__} on {where}", pid=os.getpid())
        self._notifier.send("READY=1", f"STATUS={self._reporter.status}")
        retries.forget()
        if self._ready_fd and (problem := tell_supervisor(self._ready_fd)):
            what = f"cannot write to descriptor {self._ready_fd} (--ready-fd): {problem}, ignoring"
            self._log.write(log.WARNING, "notify", what)

    # Serving

    def _serve(self, parent: Parent) -> None:
        """Serve until a signal or the idle time ends us."""
        parent.run()
        while not self._stop_requests and not self._idle.may_leave(self._listeners):
            parent.run()
        if not self._stop_requests:
            self._log.write(log.INFO, "idle", f"nothing to do for {self._settings.idle_exit:g} s")

    def _follow(self, parent: Parent) -> None:
        """Apply the settings that a reload has changed."""
        settings = self._settings
        self._log.set_level(settings.log_level)
        self._idle.take(settings.idle_exit, self._listeners, self._log)
        self._reporter.flush()  # refusals by the old rules
        listeners, counters = describe(self._listeners, settings), parent.forker.counters
        self._board.describe(__version__, listeners, counters, settings.name, settings.handler)
        self._policy.follow(settings, parent)

    def _reloaded(self, problem: str) -> None:
        """Tell the manager that a reload is over, whether it worked or not."""
        if not self._stop_requests:
            self._reporter.phase = f"reload failed: {problem}" if problem else ""
            self._board.note(self._reporter.phase)
            self._notifier.send("READY=1", f"STATUS={self._reporter.status}")
            if self._terminal.is_lost:  # its SIGHUP came before it was gone
                self._stop(self._parent)

    # Signals

    def _act_on_signals(self, parent: Parent) -> None:
        """Start what the signals ask for. The kernel sends SIGHUP also when our terminal is gone."""
        for number in self._signals.take():
            if number in (signal.SIGTERM, signal.SIGINT):
                self._stop(parent)
            elif number == signal.SIGCHLD:
                self._orphans.child_ended()
                parent.loop.call_timers()
            elif not self._stop_requests and self._terminal.is_lost:
                self._stop(parent)
            elif not self._stop_requests:
                self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={layout.now_usec()}", "STATUS=reloading")
                self._reload.begin()

    def _stop(self, parent: Parent) -> None:
        """Drain; a second request ends the drain at once."""
        self._stop_requests += 1
        if self._stop_requests == 1:
            parent.stop()
        else:
            parent.hasten()

    # Ending

    def _drain(self, parent: Parent) -> None:
        timeout, end = self._settings.drain_timeout, time.monotonic() + self._settings.drain_timeout
        parent.roster.look_at_all()
        self._board["drain_end_usec"] = layout.now_usec() + int(timeout * 1e6)
        self._board["phase"] = layout.DRAINING
        self._reporter.phase = "draining"
        longest = int((timeout + CUT_SECONDS + LINGER_SECONDS + 1) * 1e6)
        self._notifier.send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={longest}", f"STATUS={self._reporter.status}")
        left = {"busy": parent.roster.busy, "waiting": len(parent.queue)}
        self._log.write(log.INFO, "drain", f"ending, within {timeout:g} s", **left)
        for listener in self._listeners:
            listener.unlink()
            if (error := turn_away(listener)) is not None:
                what = f"{listener.address}: cannot keep new connections out of its backlog: {error.strerror}"
                self._log.write(log.WARNING, "drain", what)
        self._serve_backlog(parent, end)
        for listener in self._listeners:
            listener.end()
        parent.drain(max(0.0, end - time.monotonic()) if self._stop_requests == 1 else 0.0)
        self._reporter.flush()
        board = self._board
        board["phase"] = layout.STOPPED
        served = f"served {plural(board['connections'], 'connection')}"
        self._notifier.tell(f"STATUS=stopped: {served}")
        counts = {name: board[name] for name in ("connections", "cut", "killed", "crashed")}
        self._log.write(log.INFO, "exiting", served, **counts)
        self._notifier.flush(LAST_WORDS_SECONDS)
        self._opening.close()

    def _serve_backlog(self, parent: Parent, end: float) -> None:
        """Serve the backlog of the listeners that we bound. Activated ones keep theirs: the manager holds them open."""
        bound = [listener for listener in self._listeners if not listener.activated]
        parent.serve_backlog(min(end, time.monotonic() + NEWCOMERS_SECONDS), [x.socket for x in bound])
        if self._stop_requests == 1:
            parent.serve_backlog(end, [x.socket for x in bound if not x.can_be_found], handshakes(bound))

    def _fail(self, error: StartError) -> int:
        """Report a failed start to the manager, the log and the starter; returns the exit status."""
        self._notifier.send_failure(error.errno, error.status, str(error))
        self._log.write(log.ERROR, "exiting", str(error))
        self._pid_file.remove()
        self._notifier.flush(LAST_WORDS_SECONDS)
        self._opening.close()
        retries.slow_down(error.status, str(error), self._notifier)
        if self._settings.starter:  # the starter exits once it reads this, so clean up first
            tell_supervisor(self._ready_fd, f"{error.status} {error}")
        if error.has_threads:
            os._exit(error.status)
        return error.status


def _serves_all(parent: Parent) -> bool:
    """Whether each listener has a child to serve it."""
    return {*parent.population.pools} <= {child.pool for child in parent.population}


def _working_folder() -> str:
    try:
        return os.getcwd()
    except OSError:
        return ""


def main(words: list[str]) -> int:
    """Run the daemon that these settings describe; returns its exit status."""
    try:
        said = settings.parse(words)
    except ValueError as error:
        complain("upperd", str(error))
        return EX_SOFTWARE
    # Read now: the handler's module may change both when it is imported.
    said.library_path, said.folder = sys.argv[1], _working_folder()
    titles.set_name(said.name)
    try:
        if said.connection >= 0:
            from upperd.service import single

            return single.serve(said)
        return Daemon(said).run()
    except (OSError, MemoryError, ImportError) as error:  # there is no log yet
        complain("upperd", str(RefusedError(error)))
        return RefusedError.status
