"""What holds whatever one user's children write, report and do: a real parent whose children are puppets.

A puppet is not a process. The fuzzer plays the children of ALICE; those of BOB behave as real ones. Time is simulated.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any
from unittest import mock

from puppets import Puppet, Puppeteer, Server

from upperd.base.text import printable
from upperd.server import layout, limits, loop, parent, population, roster
from upperd.server.exits import ExitRecord, Observer
from upperd.server.layout import CONNECTIONS, FINISHED
from upperd.server.limits import Limits
from upperd.server.parent import Parent
from upperd.server.roster import Child
from upperd.server.snapshot import Snapshot, place_of, slots_in_use
from upperd.service import records

ALICE, BOB = 61001, 61002
MOST, PER_USER, QUEUE = 6, 4, 16
WORDS = (0, 1, 2, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1)
QUIET_TURNS = 200
"""Turns in which the parent comes to rest."""
_CLOCKS = (loop, parent, population, roster)


class Recorder(Observer):
    """Formats entries as the daemon's log does, and checks that a terminal may show them."""

    def child_ended(self, record: ExitRecord) -> None:
        """Check that the record has a sentence and fields."""
        text = records.sentence(record) + str(records.fields(record, ()))
        assert printable(text).isprintable()
        assert record.peer[0] in (ALICE, BOB, layout.UNKNOWN)


class Play:
    """One parent, two users, and simulated time."""

    def __init__(self, stack: ExitStack, *, is_datagram: bool) -> None:
        self.now = 1000.0
        for module in _CLOCKS:
            stack.enter_context(mock.patch.object(module, "monotonic", self.clock))
        stack.enter_context(mock.patch.object(layout, "monotonic_ns", self.nanoseconds))
        bounds = Limits(MOST, 2, PER_USER, QUEUE)
        bounds.idle_timeout, bounds.max_lifetime = 20.0, 40.0
        stack.enter_context(mock.patch.object(limits.Limits, "queue_room", QUEUE))
        self.parent = Parent(limits=bounds, observer=Recorder())
        stack.callback(self._close)
        self.server: Any = Server(is_datagram=is_datagram)
        self.parent.servers.append(self.server)
        self.parent.population.pools.append(self.server.pool)
        self.kernel = Puppeteer(self.parent.board)
        self.parent.forker = self.kernel  # type: ignore[assignment]
        stack.enter_context(mock.patch.object(os, "wait4", self.kernel.wait4))
        stack.enter_context(mock.patch.object(os, "kill", self.kernel.kill))
        self.parent.population.is_forking = True
        self.parent.population.top_up()
        self.asked = {ALICE: 0, BOB: 0}
        self.refused = {ALICE: 0, BOB: 0}

    def clock(self) -> float:
        """Stands for time.monotonic."""
        return self.now

    def nanoseconds(self) -> int:
        """Stands for time.monotonic_ns."""
        return int(self.now * 1e9)

    def connect(self, user: int) -> None:
        """Let a connection of this user arrive."""
        self.asked[user] += 1
        request = f"{user} {self.asked[user]}"
        if not self.parent.serve(self.server, request, "", (user, user, 1)):
            self.refused[user] += 1

    def puppets(self, user: int) -> list[Puppet]:
        """The living children of this user."""
        return [one for one in self.kernel.living.values() if one.user == user and one.status is None]

    def turn(self, seconds: float = 0.0) -> bool:
        """Let time pass, the parent act, and BOB's children serve. Return whether anything happened."""
        self.now += seconds
        is_busy = self.parent.loop.turn(0)
        if self.parent.queue:
            self.parent.dispatcher.serve_queue()
        for puppet in list(self.kernel.living.values()):
            if puppet.status is None and puppet.user != ALICE:
                with suppress(BlockingIOError, OSError):
                    if not puppet.channel.recv(1, socket.MSG_PEEK):
                        puppet.end(0)  # it was told to leave
                        continue
                if self._is_for(puppet, BOB):
                    puppet.serve()
        return is_busy

    def _is_for(self, puppet: Puppet, user: int) -> bool:
        owners = {child.pid: child.user.uid for child in self.parent.population if child.user is not None}
        return owners.get(puppet.pid) == user

    def check(self) -> None:
        """Check what holds at any moment."""
        children = list(self.parent.population)
        assert len(children) <= MOST
        assert len(self.parent.queue) <= QUEUE
        for user in (ALICE, BOB):
            assert self.parent.roster.user(user).count <= PER_USER
        board = self.parent.board
        head = bytes(board._map[: layout.PLACES + MOST * layout.PLACE_SIZE])
        rows = {slot: bytes(self._child(slot).row) for slot in slots_in_use(head)}
        seen = {child["slot"]: child for child in Snapshot(head, rows).children}
        assert set(seen) == {child.slot for child in children}
        for child in children:
            assert seen[child.slot]["pid"] == child.pid
            assert seen[child.slot]["handed"] == child.handed
            assert seen[child.slot]["peer_uid"] == child.peer[0]
            assert any(place_of(head, child.slot))
        records.status_line(board, "")

    def _child(self, slot: int) -> Child:
        return next(child for child in self.parent.population if child.slot == slot)

    def settle(self) -> None:
        """Check at the end: all of BOB's connections are served, none was refused, and the parent comes to rest."""
        for _ in range(QUIET_TURNS):
            self.turn(1.0)
        served = self.server.closed.count
        assert self.refused[BOB] == 0
        assert all(served(f"{BOB} {number + 1}") == 1 for number in range(self.asked[BOB]))
        assert not any(request.startswith(f"{BOB} ") for request in self.server.shut)
        assert not all(self.turn() for _ in range(QUIET_TURNS))

    def _close(self) -> None:
        for puppet in self.kernel.living.values():
            puppet.channel.close()
        self.parent.close()


def _steps(data: bytes) -> Iterator[tuple[int, int, int]]:
    for place in range(1, len(data) - 2, 3):
        yield data[place] % 12, data[place + 1], data[place + 2]


def check_child(data: bytes) -> None:
    """Whatever one user's children write, report and do, the parent goes on, and other users are served as before."""
    before = len(os.listdir("/proc/self/fd"))
    with ExitStack() as stack:
        play = Play(stack, is_datagram=bool(data) and data[0] % 2 == 1)
        for what, which, value in _steps(data):
            hostile = [one for one in play.kernel.living.values() if one.status is None and play._is_for(one, ALICE)]
            puppet = hostile[which % len(hostile)] if hostile else None
            if what <= 1 and play.asked[ALICE] < 60:
                play.connect(ALICE)
            elif what == 2 and play.asked[BOB] < QUEUE // 4:
                play.connect(BOB)
            elif what == 3:
                play.turn(value / 64)
            elif puppet is not None:
                _act(puppet, what, which, value)
            if what > 3:
                play.turn()
            play.check()
        play.settle()
        play.check()
    assert len(os.listdir("/proc/self/fd")) == before


def _act(puppet: Puppet, what: int, which: int, value: int) -> None:
    """Perform one action of a hostile child."""
    with suppress(OSError):
        if what == 4:
            puppet.row[which % len(layout.ROW_FIELDS)] = WORDS[value % len(WORDS)]
        elif what == 5:
            puppet.row[:] = memoryview(bytes([value]) * layout.ROW_SIZE).cast("Q")
        elif what == 6:
            for _ in range(value % 8):
                puppet.channel.send(bytes([which]) * (value * 37))
        elif what == 7:
            puppet.receive()
            puppet.user = ALICE
        elif what == 8:
            puppet.receive()
            puppet.user = ALICE
            puppet.row[CONNECTIONS] = puppet.row[CONNECTIONS] + 1 & layout.UNKNOWN
            puppet.row[FINISHED] = puppet.row[CONNECTIONS]
        elif what == 9:
            puppet.end(value << 8 if which % 2 else value % 32)
        elif what == 10:
            puppet.channel.shutdown((socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR)[value % 3])
        elif what == 11:
            with open(os.devnull, "rb") as file:
                socket.send_fds(puppet.channel, [b"x"], [file.fileno()] * (1 + value % 4))
