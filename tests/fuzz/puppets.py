"""Puppet children, and stand-ins for the kernel and for a server, used by child_invariants.py."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from upperd.server import handover
from upperd.server.layout import CONNECTIONS, FINISHED, TELL
from upperd.server.roster import Child

FIRST_PID = 2**30


class Puppet:
    """One child: its end of the channel, its row, and how it ended."""

    def __init__(self, child: Child, theirs: socket.socket) -> None:
        theirs.setblocking(False)
        self.pid, self.row, self.channel = child.pid, child.row, theirs
        self.user = 0
        self.status: int | None = None
        """Its status as of wait(2); None while it lives."""

    def receive(self) -> bool:
        """Take what was handed over; return whether there was anything. Checks that it is for the child's one user."""
        with suppress(OSError):
            message, descriptors, _, _ = socket.recv_fds(self.channel, 65536, 1)
            for descriptor in descriptors:
                os.close(descriptor)
            if message:
                order = handover.Order(*handover.marshal.loads(message), -1)
                assert order.user == order.peer[0] == (self.user or order.user)
                self.user = order.user
                return True
        return False

    def serve(self) -> None:
        """Do what a child does with each connection."""
        while self.receive():
            self.row[CONNECTIONS] += 1
            self.row[FINISHED] = self.row[CONNECTIONS]
            if self.row[TELL]:
                with suppress(OSError):
                    handover.tell(self.channel)

    def end(self, status: int) -> None:
        """End with this status of wait(2), unless already ended."""
        if self.status is None:
            self.status = status
            self.channel.close()


class Puppeteer:
    """Stands for the parent's forker, and for the kernel as far as children are concerned."""

    counters = ()

    def __init__(self, board: Any) -> None:
        self._board = board
        self.living: dict[int, Puppet] = {}
        self._next = FIRST_PID

    def fork(self, pool: int, count: int, signals: object, first: object = None) -> tuple[list[Child], None]:
        """As Forker.fork."""
        children = []
        for _ in range(count):
            ours, theirs = handover.channel()
            child = Child(self._next, *self._board.claim(), ours, pool)
            self._next += 1
            self._board.born(child.slot, child.pid)
            self.living[child.pid] = Puppet(child, theirs)
            children.append(child)
        return children, None

    def kill(self, pid: int, number: int) -> None:
        """As os.kill: only a child that was not reaped may be signalled."""
        puppet = self.living[pid]
        if number == signal.SIGKILL:
            puppet.end(int(number))

    def wait4(self, pid: int, options: int) -> tuple[int, int, Any]:
        """As os.wait4."""
        puppet = self.living[pid]
        if puppet.status is None:
            return 0, 0, None
        del self.living[pid]
        return pid, puppet.status, SimpleNamespace(ru_maxrss=1, ru_utime=0.1, ru_stime=0.1)


class Server:
    """A server whose connections are all /dev/null."""

    listener, connections_per_child, counters = 0, 5, ()

    def __init__(self, *, is_datagram: bool) -> None:
        self.is_datagram = is_datagram
        self.pool = int(is_datagram)
        self.closed: list[str] = []
        self.shut: list[str] = []

    def send_answer(self, connection: Any, row: object, data: bytes, place: int) -> None:
        """Check that the answer is for a datagram that is still open."""
        assert self.is_datagram
        assert connection.request not in self.closed

    def close_request(self, request: str) -> None:
        """Note a request that a child finished."""
        self.closed.append(request)

    def shutdown_request(self, request: str) -> None:
        """Note a request that was given up."""
        self.shut.append(request)
    user_of = staticmethod(lambda uid: uid)
    is_known = staticmethod(lambda uid: True)
    can_hand_over = staticmethod(lambda request: True)

    def descriptor_of(self, request: object) -> int:
        """The connection of a request, if it is one."""
        return -1 if self.is_datagram else 0

    def as_message(self, request: str) -> tuple[str] | None:
        """The message of a request, if it is a datagram."""
        return (request,) if self.is_datagram else None
