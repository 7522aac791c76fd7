"""Connections of other users: a socket's peer is the user that called connect(), whichever process uses it."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from running import DEADLINE, Daemon, read_to_end

ALICE, BOB, CAROL = 61001, 61002, 61003
"""Three users that need no entry in passwd(5)."""

_CONNECT = """
import socket, sys
control = socket.socket(fileno=int(sys.argv[1]))
address = "\\0" + sys.argv[2][1:] if sys.argv[2].startswith("@") else sys.argv[2]
connections = []
for _ in range(int(sys.argv[3])):
    connections.append(socket.socket(socket.AF_UNIX))
    connections[-1].connect(address)
    socket.send_fds(control, [b"x"], [connections[-1].fileno()])
"""


def needs_root(folder: Path) -> None:
    """Skip if the tests cannot act as other users; else let these into the folder."""
    if os.geteuid() != 0:
        pytest.skip("acting as other users takes root")
    os.chmod(folder, 0o755)


def connect_as(
    daemon: Daemon, uid: int, gid: int | None = None, groups: Sequence[int] = (), count: int = 1
) -> list[socket.socket]:
    """`count` connections of this user."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    command = ["/usr/bin/python3", "-I", "-S", "-c", _CONNECT, str(theirs.fileno()), str(daemon.path), str(count)]
    gid = uid if gid is None else gid
    with ours, theirs:
        ours.settimeout(DEADLINE)
        passed = [theirs.fileno()]
        with subprocess.Popen(command, user=uid, group=gid, extra_groups=groups, pass_fds=passed) as process:
            theirs.close()
            # While it runs: a socket that is full of descriptors takes no more.
            received = [socket.recv_fds(ours, 1, 1)[1] for _ in range(count)]
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
        connections = [socket.socket(fileno=descriptors[0]) for descriptors in received]
    for connection in connections:
        connection.settimeout(DEADLINE)
    return connections


def is_served(connection: socket.socket) -> bool:
    """Whether the connection, which is left open, is answered; a refused one ends without a byte."""
    try:
        connection.sendall(b"who")
        return connection.recv(3) == b"WHO"
    except (BrokenPipeError, ConnectionResetError):
        return False


def serves(daemon: Daemon, uid: int, gid: int | None = None, groups: Sequence[int] = ()) -> bool:
    """Whether a connection of this user is served."""
    [connection] = connect_as(daemon, uid, gid, groups)
    with connection:
        return is_served(connection)


def is_ended(connection: socket.socket) -> bytes | None:
    """Read the rest of a connection that the daemon ends; None if it ended with a reset."""
    try:
        return read_to_end(connection)
    except ConnectionResetError:
        return None
