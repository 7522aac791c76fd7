"""With the defaults and a socket open to all, nothing that one user's clients do stops service to another user."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from acting import said, start_as
from datagrams import at
from running import DEADLINE, Daemon, running, wait_until
from users import ALICE, BOB, needs_root

from upperd.server.layout import UNKNOWN

OPEN = ("--socket-mode", "0666")
TIMES = 20
_HOLD = """
import resource, select, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
clients = [socket.socket(socket.AF_UNIX) for _ in range(200)]
for client in clients:
    client.connect(sys.argv[1])
    client.setblocking(False)
print("attacking", flush=True)
"""
_LOOP = """
import socket, sys
print("attacking", flush=True)
"""
ATTACKS = {
    "idle": (1, f"{_HOLD}select.select([], [], [])"),
    "slow": (1, _HOLD + """
while True:
    for client in clients:
        try:
            client.send(b"x")
        except OSError:
            pass
    select.select([], [], [], 1)
"""),
    "unread": (1, _HOLD + """
while True:
    for client in select.select([], clients, [])[1]:
        try:
            client.send(b"x" * 65536)
        except OSError:
            clients.remove(client)
"""),
    "flood": (4, _LOOP + """
while True:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(sys.argv[1])
"""),
    "fill": (4, _LOOP + """
clients = []
while True:
    clients = clients[-500:]
    for _ in range(300):
        clients.append(socket.socket(socket.AF_UNIX))
        clients[-1].connect(sys.argv[1])
"""),
}  # fmt: skip
"""By name: how many processes of the attacker, and the program that each runs."""
_SEND = """
import socket, sys
client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
client.bind("")
client.settimeout(10)
print("attacking", flush=True)
while True:
    client.sendto(b"x", sys.argv[1])
"""
DATAGRAM_ATTACKS = {"flood": f"{_SEND}    client.recv(16)\n", "unread": _SEND}

_ASK = """
import socket, struct, sys
for _ in range(int(sys.argv[2])):
    if sys.argv[3] == "datagram":
        client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        client.bind("")
    else:
        client = socket.socket(socket.AF_UNIX)
    with client:
        for limit in socket.SO_SNDTIMEO, socket.SO_RCVTIMEO:  # not settimeout(): it would not wait in connect()
            client.setsockopt(socket.SOL_SOCKET, limit, struct.pack("@ll", 5, 0))
        client.connect(sys.argv[1])
        client.send(b"a line\\n")
        assert client.recv(64) == b"A LINE\\n"
print("served", flush=True)
"""
"""Asks this many times; each answer must come within five seconds."""


@contextlib.contextmanager
def attacking(path: Path, script: str, count: int) -> Iterator[None]:
    """This many processes of the attacker, until the end of the block."""
    with contextlib.ExitStack() as until:
        for _ in range(count):
            process = until.enter_context(start_as(ALICE, script, str(path)))
            until.callback(process.kill)
            assert said(process) == "attacking"
        yield


def serves_another(path: Path, kind: str) -> bool:
    """Whether another user is served each time."""
    with start_as(BOB, _ASK, str(path), str(TIMES), kind) as process:
        return process.communicate(timeout=6 * TIMES + DEADLINE)[0] == b"served\n"


def is_all_well(daemon: Daemon) -> bool:
    """Whether only the attacker was refused anything, and no connection was lost."""
    header = daemon.board.header
    if header["denied_uid"] not in (UNKNOWN, ALICE):
        return False
    return header["lost"] == header["refused_access"] == header["refused_rate"] == 0


@pytest.mark.parametrize("attack", ATTACKS)
def test_streams(folder: Path, attack: str) -> None:
    """Whatever one user's connections do, and however many they are, another user is served, and never refused."""
    needs_root(folder)
    count, script = ATTACKS[attack]
    with running(folder, *OPEN) as daemon, attacking(daemon.path, script, count):
        wait_until(lambda: daemon.board.header["waited"] or daemon.board.header["connections"] > 100, "they have come")
        assert serves_another(daemon.path, "stream")
        assert is_all_well(daemon)


@pytest.mark.parametrize("attack", DATAGRAM_ATTACKS)
def test_datagrams(folder: Path, attack: str) -> None:
    """While one user floods the daemon with datagrams, or reads no answers, another user's are answered.

    (Except a connected one: the kernel lets its answers fill the shared buffer; docs/scaling.md.)
    """
    needs_root(folder)
    with running(folder, *OPEN, "--datagram", str(at(folder))) as daemon:
        os.chmod(at(folder), 0o666)
        with attacking(at(folder), DATAGRAM_ATTACKS[attack], 4):
            wait_until(lambda: daemon.board.header["connections"] > 100, "they have come")
            assert serves_another(at(folder), "datagram")
            assert is_all_well(daemon)
