"""A child serves several connections, one after the other, and never of two users."""

import os
import subprocess
from pathlib import Path

from running import Daemon, running, wait_until
from users import needs_root

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


def test_children_are_used_again_by_default(folder: Path) -> None:
    """By default one child serves the consecutive connections of a user."""
    with running(folder) as daemon:
        for _ in range(100):
            assert daemon.ask(b"x") == b"X"
        assert daemon.board.header["forked"] <= 12


def test_users_take_turns_without_forks(folder: Path) -> None:
    """Users that take turns have a child each, which waits for its own user: no turn takes a fork."""
    needs_root(folder)
    with running(folder, "--socket-mode", "0666") as daemon:
        for _ in range(10):
            clients = [_ask_as(daemon, uid, 20) for uid in (61001, 61002, 61003)]
            assert [client.wait(60) for client in clients] == [0, 0, 0]
        header = daemon.board.header
    assert header["connections"] == 600
    assert header["forked"] < 30  # turns; on a slow machine a user has three children, and eight are spare


def test_never_two_users(folder: Path) -> None:
    """No child ever serves two users, however many take turns with few children."""
    needs_root(folder)
    options = ("--max-children", "3", "--spare-children", "1", "--connections-per-child", "1000")
    with running(folder, *options, "--log-level", "info", umask=0) as daemon:
        os.chmod(daemon.path, 0o777)
        for _ in range(5):
            clients = [_ask_as(daemon, uid, 20) for uid in (61001, 61002, 61001, 61003)]
            assert [client.wait(60) for client in clients] == [0, 0, 0, 0]
        assert daemon.stop() == 0
        header = daemon.board.header
    assert header["connections"] == 400
    users: dict[str, set[str]] = {}
    for line in daemon.log.splitlines():
        words = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if "child_pid" in words and words.get("connections", "0") != "0":
            users.setdefault(words["child_pid"], set()).add(words["peer_uid"])
    assert len(users) >= 3
    assert all(len(uids) == 1 for uids in users.values())
