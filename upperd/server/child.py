"""What a child does between fork() and _exit(): wait for a connection, serve it by the hooks of socketserver, wait.

The law of this file: it runs in the child alone. A child belongs to one user, holds nothing that is another's, and
never returns. It is the parent that decides that an idle child ends, so no connection is handed to one that leaves.
"""

from __future__ import annotations

import os
import socket
import sys

from upperd.server import handover
from upperd.server.layout import PEER_UID, TELL, Outcome
from upperd.server.row import Row
from upperd.server.session import Session, is_gone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType
    from typing import Any

    from upperd.server.handover import Order
    from upperd.server.mixin import PreforkingMixIn

EX_OK = 0
EX_SOFTWARE = 70
"""The handler raised, or the child itself is broken."""


class Life:
    def __init__(
        self,
        servers: Sequence[PreforkingMixIn],
        control: socket.socket,
        row: Row,
        set_title: Callable[[int | None], object] | None = None,
        *,
        takes_datagrams: bool = False,
    ) -> None:
        """In the parent, before the fork.

        `servers` by their numbers in the parent; `set_title` is called with the uid served; None: none yet.
        """
        self._servers = servers
        self.control = control
        self._takes_datagrams = takes_datagrams
        self._row = row
        self._set_title = set_title
        self._session: Session | None = None
        self._is_serving = self._is_leaving = False

    def end_connection(self, signum: int = 0, frame: FrameType | None = None) -> None:
        """The handler of SIGTERM: end what is being served, and then leave. It may come again and again.

        A child that serves nothing leaves at once: what it is handed at this moment the parent hands to another.
        """
        self._is_leaving = True
        if self._session is not None:
            self._session.end()
        elif not self._is_serving:
            os._exit(EX_OK)

    def run(self, first: Order | None = None) -> int:
        """Serve `first`, else what is handed over, to the end; returns the exit status. Nothing is raised."""
        try:
            for server in self._servers:
                server.parent = None
            if self._set_title is not None:
                self._set_title(None)
            order = first or handover.receive(self.control, takes_datagrams=self._takes_datagrams)
            while order is not None:
                if self._serve(*order) is Outcome.FAILED:
                    return EX_SOFTWARE
                if self._is_leaving:
                    break
                order = handover.receive(self.control, takes_datagrams=self._takes_datagrams)
            return EX_OK
        except BaseException:
            report_exception()
            return EX_SOFTWARE

    def _serve(
        self, listener: int, address: Any, is_last: bool, max_bytes: int, datagram: Any, connection: Any
    ) -> Outcome:
        """Serve one connection (an Order); returns how it ended.

        A child whose connection was ended before its client did leaves after it, so that its record says why at once.
        It does not say that it has finished, so nothing is handed to it meanwhile.
        """
        server, row = self._servers[listener], self._row
        if self._set_title is not None:
            self._set_title(row.words[PEER_UID])
            self._set_title = None
        self._is_serving = True
        request = server.receive_handed(row, connection, max_bytes, datagram)
        session = self._session = request if isinstance(request, Session) else None
        row.begin()
        outcome = self._call_handler(server, request, address)
        row.finish(outcome)
        if session is not None and session.is_over:
            session.linger()
            self._is_leaving = True
        if not (self._is_leaving or outcome is Outcome.FAILED):
            row.release()  # before the peer sees the end: it may come again at once
        server.shutdown_request(request)
        self._session, self._is_serving = None, False
        self._is_leaving = self._is_leaving or is_last
        if row.words[TELL]:
            handover.tell(self.control)
        return outcome

    def _call_handler(self, server: PreforkingMixIn, request: Any, address: Any) -> Outcome:
        try:
            server.finish_request(request, address)
        except Exception as error:
            server.handle_error(request, address)
            return Outcome.RESET if is_gone(error) else Outcome.FAILED
        except BaseException:  # SystemExit: as under the stock class it ends the child, not what comes before
            report_exception()
            return Outcome.FAILED
        return Outcome.DONE


def report_exception() -> None:
    """Say in one line on standard error which exception is being handled, and where it was raised."""
    error = sys.exc_info()[1]
    where = error.__traceback__ if error is not None else None
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f" at {where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else ""
    text = ascii(str(error))[1:-1]  # it may be a peer's words; a codec would need a descriptor to be loaded
    os.write(2, f"<3>child {os.getpid()}: {type(error).__name__}: {text}{place}\n".encode("utf-8", "backslashreplace"))
