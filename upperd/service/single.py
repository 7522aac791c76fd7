"""Serves one connection that another program has accepted: the lean part of `upperd --inetd`.

The parent is the daemon's, with one child and without a listener. So the connection has the same rules and limits as a
daemon's connection, and ends in the same way.
"""

from __future__ import annotations

import os
import signal
import socket

from upperd.server.exits import ExitRecord
from upperd.server.hooks import counters_of
from upperd.server.parent import Parent
from upperd.server.scoreboard import Scoreboard
from upperd.server.signals import Notes
from upperd.service import log
from upperd.service.activation import peer_address
from upperd.service.loading import HandlerError, Handlers
from upperd.service.log import Log
from upperd.service.notify import Notifier
from upperd.service.policy import Policy
from upperd.service.privacy import close_memory
from upperd.service.reporter import Reporter
from upperd.service.servers import TCPServer, UnixServer
from upperd.service.settings import Settings

EX_OK = 0
EX_SOFTWARE = 70


class Single(Reporter):
    """Observes the one child, and keeps our exit status."""

    exit_status = EX_OK

    def child_ended(self, record: ExitRecord) -> None:
        super().child_ended(record)
        if record.is_abnormal and not (record.was_cut or record.killed_for in ("killed", "overdue")):
            self.exit_status = EX_SOFTWARE


def serve(settings: Settings) -> int:
    """Serve the connection to its end; returns the exit status."""
    said = Log(settings.log_level, settings.name, journal=settings.journal)
    if settings.warning:
        said.write(log.WARNING, "starting", settings.warning)
    try:
        handler = Handlers(settings, settings.import_path).fitting(is_datagram=False, listener="the connection")
    except HandlerError as error:
        said.write(log.ERROR, "exiting", str(error))
        if error.has_threads:
            os._exit(error.status)
        return error.status
    connection = socket.socket(fileno=settings.connection)
    os.set_inheritable(settings.connection, False)
    connection.setblocking(True)
    settings.max_children = settings.max_children_per_user = settings.connections_per_child = 1
    board, policy = Scoreboard(slots=1), Policy(settings)
    reporter = Single(board, said, Notifier(""), counters=counters_of(handler))
    parent = Parent(board, policy.limits, reporter)
    parent.forker.closes_everything = True
    close_memory()  # a failure does not matter: there is only one child
    server_class = UnixServer if connection.family == socket.AF_UNIX else TCPServer
    server = server_class(connection, handler, policy)
    server.connections_per_child = 1
    server.parent = parent
    parent.add(server)
    parent.population.is_forking = False  # no spare children
    _drain_at_signals(parent, settings.drain_timeout)
    Notifier(settings.notify_socket).send("READY=1")
    server.take(connection, peer_address(connection))
    while len(parent.population) or parent.queue:
        parent.turn()
    reporter.flush()
    said.close()
    return reporter.exit_status


def _drain_at_signals(parent: Parent, timeout: float) -> None:
    """The first SIGTERM or SIGINT drains; the next one cuts the connection."""
    notes = Notes(signal.SIGTERM, signal.SIGINT)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # there is nothing to reload

    def act() -> None:
        for _ in notes.take():
            if parent.patrol.deadline is None:
                parent.begin_drain(timeout)
            else:
                parent.hasten()

    notes.wake(parent.loop.watch, act)
