"""--connections-per-child above 1."""

import os
import subprocess
from pathlib import Path

import pytest
from running import Daemon, running, wait_until

from upperd.server import turns
from upperd.server.layout import TURNS

CLIENT = """
import socket, sys
for _ in range(int(sys.argv[2])):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(sys.argv[1])
        client.sendall(b"who")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(16) == b"WHO"
"""


def _ask_as(daemon: Daemon, uid: int, times: int) -> subprocess.Popen[bytes]:
    command = ["/usr/bin/python3", "-c", CLIENT, str(daemon.path), str(times)]
    return subprocess.Popen(command, user=uid, group=uid, extra_groups=[])


def test_child_serves_several(folder: Path) -> None:
    """A child serves as many connections of one user as it may, and ends after the last."""
    with running(folder, "--connections-per-child", "10", "--spare-children", "1") as daemon:
        for _ in range(50):
            assert daemon.ask(b"x") == b"X"
        wait_until(lambda: daemon.board.header["connections"] == 50, "all are counted")
        assert daemon.board.header["forked"] <= 25
        assert max(child["connections"] for child in daemon.board.children) <= 10


def test_reuse_after_turns(folder: Path) -> None:
    """Once users take turns no more, a child serves several connections again."""
    if os.geteuid() != 0:
        pytest.skip("acting as two users takes root")
    os.chmod(folder, 0o755)
    with running(folder, "--connections-per-child", "1000", umask=0) as daemon:
        os.chmod(daemon.path, 0o777)
        clients = [_ask_as(daemon, uid, 20) for uid in (61001, 61002)]
        assert [client.wait(60) for client in clients] == [0, 0]
        for _ in range(turns.MOST):
            if not daemon.board.header["guarded"] & TURNS:
                break
            assert daemon.ask(b"x") == b"X"
        before = daemon.board.header["forked"]
        for _ in range(100):
            assert daemon.ask(b"x") == b"X"
        # At most: spare children that are still the others', and one more turn for each of them.
        assert daemon.board.header["forked"] - before < 90


def test_never_two_users(folder: Path) -> None:
    """With two users taking turns no child ever serves both; what came to the wrong one is passed on and served."""
    if os.geteuid() != 0:
        pytest.skip("acting as two users takes root")
    os.chmod(folder, 0o755)
    with running(folder, "--connections-per-child", "1000", "--log-level", "info", umask=0) as daemon:
        os.chmod(daemon.path, 0o777)
        for _ in range(5):
            clients = [_ask_as(daemon, uid, 20) for uid in (61001, 61002, 61001, 61002)]
            assert [client.wait(60) for client in clients] == [0, 0, 0, 0]
        assert daemon.board.header["passed"] > 0
        assert daemon.stop() == 0
        header = daemon.board.header
    assert header["connections"] == 400
    users: dict[str, set[str]] = {}
    for line in daemon.log.splitlines():
        words = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if "child_pid" in words and words.get("connections", "0") != "0":
            users.setdefault(words["child_pid"], set()).add(words["peer_uid"])
    assert users
    assert all(len(uids) == 1 for uids in users.values())
