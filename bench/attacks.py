"""Measures attacks: how long one user waits while another user's clients attack a server on purpose."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator

from build import BUILT
from client import load
from peers import Peer, datagram_path
from server import PeerError, pause, running

ATTACKER, VICTIM = 61001, 61002
"""Uids that no user of this machine has."""
PATIENCE_SECONDS = 2
ATTACKS = {"none": 0, "idle": 1, "slow": 1, "unread": 1, "flood": 4, "fill": 4}
"""The attacks on streams, and the number of processes that run each."""
DATAGRAM_ATTACKS = {"datagrams": 4, "datagrams-unread": 4, "datagrams-connected": 4}


def measure(peer: Peer, asked: int, *, is_datagram: bool) -> dict[str, dict[str, float]]:
    """Measure each attack against a fresh instance of the peer. Raises PeerError and WrongReplyError."""
    attacks = DATAGRAM_ATTACKS if is_datagram else ATTACKS
    return {f"attack-{kind}": _measure(peer, kind, count, asked, is_datagram) for kind, count in attacks.items()}


def _measure(peer: Peer, kind: str, count: int, asked: int, is_datagram: bool) -> dict[str, float]:
    with running(peer, is_dialogue=True) as server:
        path = datagram_path(server.address) if is_datagram else server.address
        while not os.path.exists(path):  # a server may accept on one listener before it binds the other
            pause()
        os.chmod(path, 0o666)  # other servers have no option for the mode
        with attacking(path, kind, count):
            how = "datagram" if is_datagram else "stream"
            found = load("victim", path, VICTIM, asked, PATIENCE_SECONDS, how)
    wait = found["p50"] / 1e3
    return {"wait": wait, "longest": found["longest"], "refused": found["refused"] * 200 / asked}


@contextlib.contextmanager
def attacking(path: str, kind: str, count: int) -> Iterator[None]:
    """Run `count` processes of the attacker until the end of the block. Raises PeerError."""
    command = [str(BUILT / "load"), "attack", kind, path, str(ATTACKER)]
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            assert process.stdout
            if process.stdout.readline() != "attacking\n":
                raise PeerError(f"the attack {kind} ends at once")
        yield
