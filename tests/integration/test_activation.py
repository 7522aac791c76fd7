"""Sockets passed by a service manager."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from running import COMMAND, activated, free_port, run_to_end, running, wait_until
from tools import missing


def _unix(path: Path, kind: int = socket.SOCK_STREAM) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, kind)
    sock.bind(str(path))
    return sock


def listens(path: Path) -> bool:
    """Whether a process listens on the path, found without connecting (proc(5), net/unix, __SO_ACCEPTCON)."""
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    return any(row[-1:] == [str(path)] and row[3] == "00010000" for row in rows)


def _ask(sock: socket.socket, address: object) -> bytes:
    with sock:
        sock.settimeout(30)
        sock.connect(address)
        sock.sendall(b"x")
        return sock.recv(8)


def test_every_passed_socket_is_served(folder: Path) -> None:
    """Any number of Unix and TCP sockets, mixed and named, are all served and named in the scoreboard."""
    paths, port = [folder / "upperd.sock", folder / "b.sock"], free_port()
    with _unix(paths[0]) as one, _unix(paths[1]) as two, socket.socket() as tcp:
        tcp.bind(("127.0.0.1", port))
        for sock in (one, two, tcp):
            sock.listen()
        with running(folder, **activated(folder, [one, two, tcp], names="first:second:third")) as daemon:
            assert [_ask(socket.socket(socket.AF_UNIX), str(path)) for path in paths] == [b"X", b"X"]
            assert _ask(socket.socket(), ("127.0.0.1", port)) == b"X"
            described = daemon.board.listeners
    assert [line.rpartition("activated as ")[2] for line in described] == ["first)", "second)", "third)"]


@pytest.mark.parametrize("name", ["bound.x", "bound.", "bound"])
def test_name_like_one_of_the_store(folder: Path, name: str) -> None:
    """A socket is served even if its FileDescriptorName= looks like a name of the descriptor store."""
    with _unix(folder / "upperd.sock") as listener:
        listener.listen()
        with running(folder, **activated(folder, [listener], names=name)) as daemon:
            assert daemon.ask(b"x") == b"X"
            assert daemon.board.listeners[0].endswith(f"activated as {name})")


def test_passed_path_is_never_removed(folder: Path) -> None:
    """A passed socket is neither unlinked nor shut down: it still listens when the daemon has ended."""
    path = folder / "upperd.sock"
    with _unix(path) as listener:
        listener.listen()
        with running(folder, **activated(folder, [listener])) as daemon:
            assert daemon.stop() == 0
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            assert listener.accept()[0].close() is None


@pytest.mark.parametrize("kind", ["a file", "a socket of another type", "a connection"])
def test_wrong_descriptor_is_named(folder: Path, kind: str) -> None:
    """A passed descriptor that is not a listener ends the start with status 78, and is named."""
    one, two = socket.socketpair()
    other = _unix(folder / "other", socket.SOCK_SEQPACKET)
    with one, two, other, open(os.devnull) as file:
        wrong = {"a file": file, "a socket of another type": other, "a connection": one}
        arguments = activated(folder, [wrong[kind]], names="odd")
        with running(folder, ready=False, **arguments) as daemon:
            assert daemon.wait() == 78
            assert "descriptor 3 (odd)" in daemon.log


def test_foreign_listen_pid_is_explained(folder: Path) -> None:
    """Sockets meant for another process are not taken, and the log says why."""
    with _unix(folder / "passed.sock") as listener:
        listener.listen()
        path = folder / "upperd.sock"
        arguments = activated(folder, [listener], "--socket", str(path), pid="1")
        with running(folder, **arguments) as daemon:
            assert daemon.ask(b"x") == b"X"
            assert "LISTEN_PID=1 is not this process" in daemon.log



def test_systemd_socket_activate(folder: Path) -> None:
    """systemd's own activation tool starts the daemon at the first connection."""
    tool = shutil.which("systemd-socket-activate")
    if tool is None:
        missing("no systemd-socket-activate: apt-get install systemd")
    path = folder / "upperd.sock"
    command = [tool, "-l", str(path), "--fdname=tried", *COMMAND]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(path), "systemd-socket-activate listens")
        assert _ask(socket.socket(socket.AF_UNIX), str(path)) == b"X"
    finally:
        process.terminate()
        process.wait()


def test_malformed_environment_is_an_error(folder: Path) -> None:
    """A LISTEN_PID that is not a number ends the start with status 78 and is named."""
    status, said = run_to_end(folder, "--socket", "x.sock", LISTEN_FDS="1", LISTEN_PID="me")
    assert status == 78
    assert "LISTEN_PID='me'" in said
