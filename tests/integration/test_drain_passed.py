"""A connection that a child has passed up: it is served, or ended where the server drains, and never waited for."""

from __future__ import annotations

import errno
import os
import socket
import socketserver
import time
from pathlib import Path

from running import open_files, read_to_end, wait_until
from test_mixin_life import Echo, apart

from upperd.server import PreforkingMixIn, forker, parent
from upperd.server.layout import PID, WAITING


class _Server(PreforkingMixIn, socketserver.UnixStreamServer):
    max_children = 2


def _passed(folder: Path) -> tuple[parent.Parent, socket.socket]:
    """A parent without children to which a connection was passed up, and its client."""
    server = _Server(str(folder / "socket"), Echo)
    keeper = server._get_parent()
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(30)
    client.connect(str(folder / "socket"))
    accepted, _ = server.socket.accept()
    keeper._link.pass_up(accepted, 0)
    accepted.close()
    return keeper, client


@apart
def test_served_at_the_deadline(folder: Path) -> None:
    """What was passed up is served though the deadline is over: like any other connection that is cut then."""
    fork, failing = forker.fork, iter((True, True))

    def fork_late() -> int:
        if next(failing, False):
            raise OSError(errno.EAGAIN, "no more processes")
        return fork()

    keeper, client = _passed(folder)
    client.sendall(b"taken")
    forker.fork = fork_late
    keeper.drain(0.1)
    assert read_to_end(client) == b"TAKEN"
    assert (keeper.board["passed"], keeper.board["connections"]) == (1, 1)
    assert keeper.board["fork_failures"] == 2


@apart
def test_served_while_draining(folder: Path) -> None:
    """What was passed up when the drain began is served to its end."""
    keeper, client = _passed(folder)
    client.sendall(b"more")
    client.shutdown(socket.SHUT_WR)
    keeper.drain(30)
    assert read_to_end(client) == b"MORE"


@apart
def test_spare_children_do_not_hold_it(folder: Path) -> None:
    """Spare children that are forked together with the child for it do not have it."""
    keeper, client = _passed(folder)
    client.sendall(b"more")
    client.shutdown(socket.SHUT_WR)
    keeper.turn(30)
    assert keeper._passing.waiting is not None
    passed = f"socket:[{os.fstat(keeper._passing.waiting.fileno()).st_ino}]"
    keeper.top_up()
    assert (keeper.board["forked"], keeper.board["passed"]) == (2, 1)
    assert read_to_end(client) == b"MORE"
    [spare] = [row.words[PID] for row in keeper.board.living() if row.state == WAITING]
    wait_until(lambda: passed not in open_files(spare), "it is closed")
    keeper.drain(30)


@apart
def test_no_child_for_it(folder: Path) -> None:
    """Where no child can be forked for it until the end it is ended and counted as cut; the drain is not held up."""

    def fork() -> int:
        raise OSError(errno.EAGAIN, "no more processes")

    keeper, client = _passed(folder)
    forker.fork = fork
    began = time.monotonic()
    keeper.drain(0.1)
    assert time.monotonic() - began < 20
    assert read_to_end(client) == b""
    assert (keeper.board["cut"], keeper.board["passed"]) == (1, 0)
    assert keeper.board["fork_failures"] > 0
