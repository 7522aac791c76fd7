"""What a child does between fork() and _exit(): accept a connection, serve it, end.

The law of this file: it runs in the child alone, and everything it needs was made by the parent before the fork,
because what a child touches first is a page to copy (hence names imported one by one, and plain numbers). A child has
no handler of its parent's, no descriptor of its parent's, and never returns.

Its signals are those of signals.py.

Stopping in accept() without losing a connection: the handler puts /dev/null in the place of the listener.
An accept() that was waiting is begun again by Python (PEP 475) and fails with ENOTSOCK; one that had its connection
already returns it, and it is served. A signal that comes between two instructions, before accept() is entered, is
caught by the parent, which repeats it.
"""

from __future__ import annotations

import errno
import os
import sys
from os import closerange, getpid

from upperd.server.layout import (
    CONNECTIONS,
    CROWD,
    DONE,
    DOOR,
    FAILED,
    HEADER,
    IDLE,
    NONE,
    OUTCOME,
    PASSED,
    PID,
    REFUSED,
    REFUSED_OUTCOME,
    REFUSED_USER,
    TURNS,
    UNKNOWN,
)
from upperd.server.signals import CUT, DRAIN, RETIRE, TIMER
from upperd.service.titles import SPARE, serving

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, Protocol

    from upperd.server.link import Link
    from upperd.server.signals import Signals
    from upperd.server.slot import Slot

    class Server(Protocol):
        """What a child needs of its server: the hooks of socketserver, and those of PreforkingMixIn."""

        socket: Any
        listener: int
        connections_per_child: int
        slot: Slot | None

        def descriptors(self) -> tuple[int, ...]: ...
        def get_request(self) -> tuple[Any, object]: ...
        def verify_request(self, request: Any, client_address: object) -> bool: ...
        def finish_request(self, request: Any, client_address: object) -> None: ...
        def handle_error(self, request: Any, client_address: object) -> None: ...
        def shutdown_request(self, request: Any) -> None: ...
        def close_request(self, request: Any) -> None: ...
        def peer_credentials(self, request: Any) -> tuple[int, int, int]: ...
        def refuse_request(self, request: Any, uid: int, gid: int) -> int: ...
        def recheck_request(self, request: Any) -> None: ...
        def limit_request(self, request: Any) -> None: ...
        def quiesce_request(self, request: Any) -> None: ...
        def cut_request(self, request: Any) -> None: ...


_GUARDED = HEADER["guarded"]

EX_OK = 0
EX_SOFTWARE = 70
"""The handler raised, or the child itself is broken."""
EX_OSERR = 71
"""accept() failed; a wait may cure it (descriptors or memory ran out), so the parent throttles."""

# accept(2), "Error handling": pending network errors of the connection, to be treated like EAGAIN.
_TRY_AGAIN = frozenset(
    (
        errno.EAGAIN,
        errno.ECONNABORTED,
        errno.EPERM,
        errno.EPROTO,
        errno.ENOPROTOOPT,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENONET,
        errno.EOPNOTSUPP,
    )
)


class Child:
    """One child to be. The parent makes it once for each server, and forks it again and again."""

    __slots__ = (
        "_ending", "_link", "_listener", "_request", "_server", "_set_title", "_uid", "draining", "handling",
        "leaving",
    )  # fmt: skip

    def __init__(self, server: Server, link: Link, set_title: Callable[[str], object] | None = None) -> None:
        self._server = server
        self._link = link
        self._set_title = set_title
        self._listener = server.listener
        self._request: Any = None
        self._uid: int | None = None
        self._ending = EX_OK
        self.handling: tuple[object, ...] = (self.on_signal, (), {}, None)
        """What SharedSignals has its handler do in us: the state of a partial."""
        self.leaving = False
        """Whether we accept no more."""
        self.draining = False
        """Whether the connection that we serve is to end as soon as it may."""

    def live(
        self,
        slot: Slot,
        signals: Signals,
        close: list[tuple[int, int]],
        passed: tuple[Any, object] | None,
    ) -> int:
        """Be the child: serve up to `connections_per_child` connections, the `passed` one first.

        Returns the status to exit with; nothing is raised.

        `slot` is our row, `close` the ranges of descriptors that are not ours.
        """
        try:
            slot.words[PID] = getpid()  # the parent writes it, too, but perhaps not before we serve
            signals.settle(self)
            for low, high in close:
                closerange(low, high)
            set_title = self._set_title
            if set_title is not None:
                set_title(SPARE)
            if self._link.watch_parent():
                return self._serve(slot, passed)
        except BaseException:
            report_exception()
            return EX_SOFTWARE
        return EX_OK

    def _serve(self, slot: Slot, passed: tuple[Any, object] | None) -> int:
        """Accept and serve until we are to end; return the exit status."""
        server = self._server
        server.slot = slot
        left = server.connections_per_child
        while True:
            accepted = passed or self._accept()
            if accepted is None:
                return self._ending
            passed = None
            request = accepted[0]
            uid, gid, pid = server.peer_credentials(request)
            guards = slot.header[_GUARDED]
            if guards & DOOR:
                reason = server.refuse_request(request, uid, gid)
                if reason:  # he was not served, so the next one may be anybody
                    self._refuse(slot, request, uid, reason)
                    slot.wait()
                    continue
            if slot.take(uid):
                self._link.poke()
            if uid != self._uid and not self._is_ours(uid):
                self._pass_up(slot, request)
                return EX_OK
            if guards & CROWD and not slot.may_serve(uid):
                self._leave_to_others(slot, request, uid)
                continue
            slot.connected(uid, gid, pid)
            if not self._finish(slot, request, accepted[1]):
                return EX_SOFTWARE
            left -= 1
            # Where users take turns, one who waits for his own is in the way of the others.
            if left <= 0 or self.leaving or slot.header[_GUARDED] & TURNS:
                return EX_OK
            slot.wait()

    def _accept(self) -> tuple[Any, object] | None:
        """Wait for a connection; None when we are to end."""
        while not self.leaving:
            try:
                return self._server.get_request()
            except OSError as error:
                if error.errno == errno.ENOTSOCK:  # /dev/null is in the place of the listener: we are to end
                    return None
                if not self.leaving and error.errno not in _TRY_AGAIN:
                    # Descriptors or memory ran out, or the listener is broken: trying again here would spin.
                    report_exception()
                    self._ending = EX_OSERR
                    return None
        return None

    def _refuse(self, slot: Slot, request: Any, uid: int, reason: int) -> None:
        """Close a connection that is not to be served."""
        slot.refused(reason)  # before the peer sees it
        self._server.shutdown_request(request)
        if slot.deny(uid):
            self._link.poke()

    def _is_ours(self, uid: int) -> bool:
        """Whether we may serve a user who is not the one of before: a child never serves two."""
        if self._uid is not None:
            return False
        self._uid = uid
        set_title = self._set_title
        if set_title is not None:
            set_title(serving(uid, UNKNOWN))
        return True

    def _pass_up(self, slot: Slot, request: Any) -> None:
        """The connection is another user's: the parent has a new child serve it."""
        slot.end(PASSED)
        slot.set_busy()  # who is served by another child counts there
        self._link.pass_up(request, self._listener)

    def _leave_to_others(self, slot: Slot, request: Any, uid: int) -> None:
        """Others serve this user, as many as may: refuse the connection."""
        slot.wait()
        self._refuse(slot, request, uid, REFUSED_USER)
        if slot.words[CONNECTIONS] == 0:  # if we have served nobody before, we may serve anybody
            self._uid = None
            if self._set_title is not None:
                self._set_title(SPARE)

    def _finish(self, slot: Slot, request: Any, address: object) -> bool:
        """Serve one connection by the hooks of socketserver. False: the handler raised."""
        server = self._server
        self._request = request
        if self.leaving:
            server.recheck_request(request)
        if self.draining:
            server.quiesce_request(request)
        served = True
        try:
            if server.verify_request(request, address):
                server.finish_request(request, address)
                outcome = DONE
            else:
                slot.words[REFUSED] = slot.words[REFUSED] + 1 & UNKNOWN
                outcome = REFUSED_OUTCOME
        except Exception:
            served, outcome = False, FAILED
            server.handle_error(request, address)
        if slot.words[OUTCOME] == NONE:
            slot.words[OUTCOME] = outcome
        self._request = None
        if slot.words[OUTCOME] < IDLE:
            slot.set_busy()  # before the peer sees the end: he may come again at once
            server.shutdown_request(request)
        else:
            server.shutdown_request(request)  # may take a while: we have ended it, and he counts meanwhile
            slot.set_busy()
        return served

    # Signals: they may come between any two instructions, and again and again.

    def on_signal(self, signum: int, frame: FrameType | None = None) -> None:
        """The handler of every signal that a child takes."""
        if signum == RETIRE:
            self._stop_accepting()
            if self._request is not None:
                self._server.recheck_request(self._request)
        elif signum == DRAIN:
            self._stop_accepting()
            self.draining = True
            if self._request is not None:
                self._server.quiesce_request(self._request)
        elif signum == CUT:
            self._stop_accepting()
            if self._request is not None:
                self._server.cut_request(self._request)
        elif signum == TIMER and self._request is not None:
            self._server.limit_request(self._request)

    def _stop_accepting(self) -> None:
        if not self.leaving:
            self.leaving = True
            os.dup2(self._link.null, self._server.socket.fileno(), inheritable=False)


def report_exception() -> None:
    """Say in one line on standard error which exception is being handled, and where it was raised."""
    error = sys.exc_info()[1]
    where = error.__traceback__ if error is not None else None
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f" at {where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else ""
    from upperd.base.text import printable  # what an error says may be a peer's words

    line = f"<3>child {os.getpid()}: {type(error).__name__}: {printable(str(error))}{place}\n"
    os.write(2, line.encode("utf-8", "backslashreplace"))
