"""What a child does between fork() and _exit(): it waits for a connection, serves it by the hooks of socketserver, and
waits again.

This runs in the child only. A child belongs to one user, holds nothing of another user, and never returns. The parent
decides when an idle child ends, so no connection is handed to a child that exits.
"""

from __future__ import annotations

import os
import socket

from upperd.server import handover
from upperd.server.failure import describe
from upperd.server.layout import TELL, Outcome
from upperd.server.row import Row
from upperd.server.session import Session, is_gone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType
    from typing import Any

    from upperd.server.handover import Order
    from upperd.server.mixin import PreforkingMixIn
    from upperd.server.signals import Blocked

EX_OK = 0
EX_SOFTWARE = 70
"""The handler raised an exception, or the child itself failed."""


class Life:
    def __init__(
        self,
        servers: Sequence[PreforkingMixIn],
        control: socket.socket,
        row: Row,
        set_title: Callable[[int | None], object] | None = None,
        *,
        handlers: Sequence[Any] = (),
        takes_datagrams: bool = False,
    ) -> None:
        """Called in the parent, before the fork.

        `servers`: by their numbers in the parent. `handlers`: classes with `start_child` or `end_child`. `set_title` is
        called with the uid that is served, None before the first connection.
        """
        self._servers = servers
        self._handlers = handlers
        self.control = control
        self._takes_datagrams = takes_datagrams
        self._row = row
        self._set_title = set_title
        self._session: Session | None = None
        self._is_serving = self._is_leaving = False

    def end_connection(self, signum: int = 0, frame: FrameType | None = None) -> None:
        """The handler of SIGTERM: end the connection, then exit. The signal may arrive several times.

        An idle child exits at once. If the parent has just handed it a connection, another child gets that one.
        """
        self._is_leaving = True
        if self._session is not None:
            self._session.end()
        elif not self._is_serving:
            os._exit(EX_OK)

    def run(self, signals: Blocked, first: Order | None = None) -> int:
        """Serve `first`, if there is one, then each connection that the parent hands over; returns the exit status.

        Raises nothing. `signals` are set up for the child already.
        """
        self._pid, self._signals = os.getpid(), signals
        try:
            for server in self._servers:
                server.parent, server.channel = None, self.control
            if self._set_title is not None:
                self._set_title(None)
            self._call_handlers("start_child")
            if self._handlers:
                handover.tell(self.control)  # ready
            order = first or handover.receive(self.control, takes_datagrams=self._takes_datagrams)
            while order is not None:
                if self._serve(*order) is Outcome.FAILED:
                    return EX_SOFTWARE
                if self._is_leaving:
                    break
                order = handover.receive(self.control, takes_datagrams=self._takes_datagrams)
            self._call_handlers("end_child")
            return EX_OK
        except BaseException as error:
            self._end_copy()
            self.failed(error)
            return EX_SOFTWARE

    def failed(self, error: BaseException) -> None:
        """We end because of this, which is none of a handler's."""
        self._row.failed(describe(error))
        self._servers[0].failed()

    def _call_handlers(self, name: str) -> None:
        """Call a class method of the handlers that have it."""
        for handler in self._handlers:
            if (call := getattr(handler, name, None)) is not None:
                call()
                self._end_copy()

    def _serve(self, *values: Any) -> Outcome:
        """Serve one connection (the values of an Order); returns how it ended.

        If the daemon ended the connection before the client did, the child exits after it, so that its record gives the
        reason at once. It does not report that it has finished, so the parent hands it nothing meanwhile.
        """
        listener, address, user, peer, is_last, max_bytes, datagram, connection = values
        server, row = self._servers[listener], self._row
        if self._set_title is not None:
            self._set_title(user)
            self._set_title = None
        self._is_serving = True
        request = server.receive_handed(row, connection, peer, max_bytes, datagram)
        session = self._session = request if isinstance(request, Session) else None
        row.begin()
        outcome = self._call_handler(server, request, address)
        self._end_copy()
        row.finish(outcome)
        if self._signals.are_changed:
            self._is_leaving = True  # a signal might no longer end the next connection
        if session is not None and session.is_over:
            session.linger()
            self._is_leaving = True
        if session is not None and session.is_detached:
            self._is_leaving = True  # our exit closes what the handler left open
        has_finished = not (self._is_leaving or outcome is Outcome.FAILED)
        if has_finished:
            row.release()  # before the client sees the end: it may connect again at once
        server.shutdown_request(request)
        self._session, self._is_serving = None, False
        self._is_leaving = self._is_leaving or is_last
        if has_finished and row.words[TELL]:
            handover.tell(self.control)
        return outcome

    def _end_copy(self) -> None:
        """Exit if this is a process that the handler forked, and that has returned here as well."""
        if os.getpid() != self._pid:
            os._exit(EX_OK)

    def _call_handler(self, server: PreforkingMixIn, request: Any, address: Any) -> Outcome:
        try:
            server.finish_request(request, address)
        except Exception as error:
            self._end_copy()
            # The session notes errors of its connection; this one may be of another connection of the handler.
            if is_gone(error) and (self._session is None or self._session.has_lost_peer):
                outcome = Outcome.RESET
            else:
                outcome = Outcome.FAILED
                self._row.failed(describe(error))
            server.handle_error(request, address)
            return outcome
        except BaseException as error:  # such as SystemExit, which ends the child under the stock class, too
            self._end_copy()
            self._row.failed(describe(error))
            server.failed()
            return Outcome.FAILED
        return Outcome.DONE
