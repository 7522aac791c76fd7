"""TCP beside the path, and in its place."""

from __future__ import annotations

import ctypes
import os
import re
import socket
from pathlib import Path

import pytest
from acting import OTHER, USER, need_root, start_as
from running import COMMAND, DEADLINE, Daemon, ask_on, free_port, run_to_end, running
from sandbox import netlink_refused
from tools import missing

_PIDFD_GETFD = 438
"""System call (pidfd_getfd(2)), on every architecture."""


def _ports(daemon: Daemon) -> dict[str, int]:
    """The port of each TCP address that the scoreboard names."""
    found = re.findall(r"tcp:(\[[^]]*\]|[\d.]+):(\d+)", " ".join(daemon.board.listeners))
    return {host.strip("[]"): int(port) for host, port in found}


def _copy_of(pid: int, descriptor: int) -> socket.socket:
    """A descriptor of another process's socket, for reading its options."""
    pidfd = os.pidfd_open(pid)
    try:
        copy = ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, pidfd, descriptor, 0)
    finally:
        os.close(pidfd)
    if copy < 0:
        missing(f"pidfd_getfd: {os.strerror(ctypes.get_errno())}")
    return socket.socket(fileno=copy)


def _connection_of(pid: int, client: socket.socket) -> socket.socket:
    """A copy of the child's end of the client's connection."""
    for name in os.listdir(f"/proc/{pid}/fd"):
        if not os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:"):
            continue
        copy = _copy_of(pid, int(name))
        try:
            if copy.family == client.family and copy.getpeername() == client.getsockname():
                return copy
        except OSError:
            pass
        copy.close()
    raise AssertionError(f"process {pid} does not hold the connection")


def test_accepted_connection_is_quick_and_watched(folder: Path) -> None:
    """A TCP connection has TCP_NODELAY and keepalive on the daemon's side."""
    with (
        running(folder, "--tcp", "127.0.0.1:0") as daemon,
        socket.create_connection(("127.0.0.1", _ports(daemon)["127.0.0.1"]), DEADLINE) as client,
    ):
        client.sendall(b"x")
        assert client.recv(1) == b"X"
        child = next(child["pid"] for child in daemon.board.children if not child["waiting"])
        with _connection_of(child, client) as connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1


def test_tcp_alone(folder: Path) -> None:
    """With --no-socket the daemon serves TCP and binds no path."""
    command = [*COMMAND, "--no-socket", "--tcp", "127.0.0.1:0", "--scoreboard", str(folder / "scoreboard")]
    with (
        running(folder, command=command) as daemon,
        socket.create_connection(("127.0.0.1", _ports(daemon)["127.0.0.1"]), DEADLINE) as client,
    ):
        assert ask_on(client, b"tcp") == b"TCP"
        assert not daemon.path.exists()


def test_localhost_is_every_loopback_address(folder: Path) -> None:
    """localhost:PORT serves every loopback address of this host, all on the same port, whatever a resolver says."""
    with running(folder, "--tcp", f"localhost:{free_port()}") as daemon:
        ports = _ports(daemon)
        assert len(set(ports.values())) == 1
        assert "127.0.0.1" in ports
        assert set(ports) <= {"127.0.0.1", "::1"}
        for host, port in ports.items():
            with socket.create_connection((host, port), DEADLINE) as client:
                assert ask_on(client, b"x") == b"X"


def test_live_daemon_is_no_reason_to_fall_back(folder: Path) -> None:
    """If a live daemon has the path, a second one ends with 75, also with TCP beside it."""
    with running(folder) as daemon:
        status, said = run_to_end(folder, "--socket", str(daemon.path), "--tcp", "127.0.0.1:0")
    assert (status, "already running" in said) == (75, True)


def test_taken_port_is_an_error(folder: Path) -> None:
    """A port that another program has ends the start with status 73 and the reason; the path is not left behind."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        status, said = run_to_end(folder, "--socket", "s", "--tcp", f"127.0.0.1:{port}")
    assert status == 73
    assert f"cannot listen on tcp:127.0.0.1:{port}" in said
    assert not (folder / "s").exists()


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.1"])
def test_tcp_is_loopback_only(folder: Path, host: str) -> None:
    """An address that others can reach is refused with status 73 and the option that would allow it."""
    status, said = run_to_end(folder, "--no-socket", "--tcp", f"{host}:0", "--scoreboard", "scoreboard")
    assert status == 73
    assert re.search(r"not a loopback address.*--tcp-allow-remote", said)


CLIENT = """
import socket, sys
for _ in range(int(sys.argv[2])):
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as client:
        client.sendall(b"who")
        assert client.recv(16) == b"WHO"
"""


def _peers(daemon: Daemon) -> dict[str, set[str]]:
    """For the pid of each child that served, the uids of its peers in the log; "" stands for unknown."""
    peers: dict[str, set[str]] = {}
    for line in daemon.log.splitlines():
        words = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if "child_pid" in words and words["outcome"] != "":
            peers.setdefault(words["child_pid"], set()).add(words.get("peer_uid", ""))
    return peers


def test_never_two_users_over_tcp(folder: Path) -> None:
    """On loopback a child serves one uid only, again and again, however users take turns, and the log names it."""
    need_root()
    options = ("--connections-per-child", "1000", "--spare-children", "1")
    with running(folder, "--tcp", "127.0.0.1:0", *options) as daemon:
        port = str(_ports(daemon)["127.0.0.1"])
        for turn in range(8):
            with start_as((USER, OTHER)[turn % 2], CLIENT, port, "5") as client:
                assert client.wait(DEADLINE) == 0
        assert daemon.stop() == 0
    assert daemon.board.header["connections"] == 5 * 8
    assert set.union(*_peers(daemon).values()) == {str(USER), str(OTHER)}
    assert all(len(uids) == 1 for uids in _peers(daemon).values())


def test_peer_is_unknown_without_netlink(folder: Path) -> None:
    """If the sandbox refuses AF_NETLINK, TCP is served as ever, and its peers are unknown."""
    with running(folder, "--tcp", "127.0.0.1:0", preexec_fn=netlink_refused()) as daemon:
        with socket.create_connection(("127.0.0.1", _ports(daemon)["127.0.0.1"]), DEADLINE) as client:
            assert ask_on(client, b"x") == b"X"
        assert daemon.stop() == 0
    assert set.union(*_peers(daemon).values()) == {""}


def test_peer_of_tcp_is_known(folder: Path) -> None:
    """In the log the record of a connection from loopback has the uid, and neither gid nor pid."""
    with running(folder, "--tcp", "127.0.0.1:0") as daemon:
        with socket.create_connection(("127.0.0.1", _ports(daemon)["127.0.0.1"]), DEADLINE) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"X"
        assert daemon.stop() == 0
    assert set.union(*_peers(daemon).values()) == {str(os.geteuid())}
    assert not re.search(r"peer_gid|peer_pid", daemon.log)
