"""`upperd --inetd`: what it takes for its connection, and which options go with one."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from running import DEADLINE, activated, ask_on, free_port, running, wait_until
from super_servers import FAMILIES, INETD, connection, serving
from tools import missing


def _unconnected(path: Path, kind: int, *, listens: bool = False) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, kind)
    if listens:
        sock.bind(str(path))
        sock.listen()
    return sock


def _wrong_input(kind: str, folder: Path) -> tuple[Any, ...]:
    """Files, of which the first stands for standard input."""
    if kind == "terminal":
        return tuple(os.fdopen(number, "rb", buffering=0) for number in reversed(os.openpty()))
    if kind == "pipe":
        return tuple(os.fdopen(number, mode) for number, mode in zip(os.pipe(), "rw", strict=True))
    if kind == "datagram":
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    if kind in ("listening", "unconnected"):
        return (_unconnected(folder / "s", socket.SOCK_STREAM, listens=kind == "listening"),)
    return (open(os.devnull if kind == "device" else __file__),)


@pytest.mark.parametrize(
    ("kind", "status", "named"),
    [
        ("terminal", 64, "is a terminal"), ("file", 64, "is a file"), ("pipe", 64, "is a pipe"),
        ("device", 64, "is a device"), ("listening", 78, "is a listening socket (Accept=no"),
        ("datagram", 78, "is not a stream socket but SOCK_DGRAM"), ("unconnected", 78, "is not connected"),
    ],
)  # fmt: skip
def test_standard_input_is_no_connection(folder: Path, kind: str, status: int, named: str) -> None:
    """What is not a connected stream socket is named in one line, with what to do, and its exit status."""
    with contextlib.ExitStack() as until:
        files = [until.enter_context(file) for file in _wrong_input(kind, folder)]
        done = subprocess.run(INETD, stdin=files[0], capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == status
    assert f"upperd: standard input {named}" in done.stderr
    assert "a socket unit with Accept=yes" in done.stderr


def test_standard_input_is_closed() -> None:
    """Without any standard input the error says so, with status 64."""
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *INETD]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, "standard input is closed" in done.stderr) == (64, True)


def test_standard_error_is_closed() -> None:
    """Where standard error is closed nothing of ours takes its number, and would get what is logged."""
    ours, theirs = socket.socketpair()
    ours.settimeout(DEADLINE)
    command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *INETD]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs) as process, ours, theirs:
        theirs.close()
        ours.sendall(b"x")
        assert ours.recv(1) == b"X"
        assert os.readlink(f"/proc/{process.pid}/fd/2") == "/dev/null"
        ours.shutdown(socket.SHUT_WR)
        assert ours.recv(100) == b""
        assert process.wait(DEADLINE) == 0


@pytest.mark.parametrize(
    "words", [["--socket", "x"], ["--tcp", "localhost:1"], ["--max-children", "2"], ["--pid-file", "x"]]
)
def test_options_without_meaning_are_refused(words: list[str]) -> None:
    """An option about listening or children is refused by its name, with the reason and status 64."""
    done = subprocess.run([*INETD, *words], capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 64
    assert f"{words[0]} has no meaning with --inetd: there is no listener" in done.stderr


def test_config_file_of_the_daemon_does(folder: Path) -> None:
    """The daemon's own file may be given: what is about listening there is left alone."""
    (folder / "c.toml").write_text('socket = "/x/y"\nmax-children = 3\nlog-level = "error"\n')
    with serving(folder, "unix", "--config", str(folder / "c.toml")) as service:
        assert ask_on(service.client, b"x") == b"X"
        assert service.wait() == (0, "")


def test_accept_without_standard_input(folder: Path) -> None:
    """A connection passed as systemd passes sockets (Accept=yes) is served, and the manager told READY=1."""
    client, accepted = connection("unix")
    with client, accepted, running(folder, **activated(folder, [accepted], "--inetd", names="connection")) as service:
        accepted.close()
        assert ask_on(client, b"x") == b"X"
        assert service.wait() == 0


def test_passed_connection_points_to_inetd(folder: Path) -> None:
    """A daemon that is passed a connection names the option that serves it."""
    client, accepted = connection("unix")
    arguments = activated(folder, [accepted], names="connection")
    with client, accepted, running(folder, ready=False, **arguments) as daemon:
        assert daemon.wait() == 78
        assert "for a connection, start it with --inetd" in daemon.log


def test_several_passed_sockets_are_refused(folder: Path) -> None:
    """Two sockets are not one connection: status 78."""
    one, two = socket.socketpair()
    with one, two, running(folder, ready=False, **activated(folder, [one, two], "--inetd")) as service:
        assert service.wait() == 78
        assert "2 sockets were passed" in service.log


@FAMILIES
@pytest.mark.parametrize("inetd", ["--inetd", ""])
def test_systemd_socket_activate(folder: Path, family: str, inetd: str) -> None:
    """Under systemd's own tool, one process for each connection, with or without standard input, all are answered."""
    tool = shutil.which("systemd-socket-activate")
    if tool is None:
        missing("no systemd-socket-activate: apt-get install systemd")
    port = free_port()
    address = str(folder / "s") if family == "unix" else ("127.0.0.1", port)
    where = str(folder / "s") if family == "unix" else f"127.0.0.1:{port}"
    command = [tool, "-l", where, "--accept", *([inetd] if inetd else []), *INETD]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        clients = [wait_until(lambda: _connect(family, address), "systemd-socket-activate listens") for _ in range(5)]
        assert [ask_on(client, b"x") for client in clients] == [b"X"] * 5
        for client in clients:
            client.close()
        wait_until(lambda: (folder / "log").read_text().count("outcome=done") == 5, "five ends are logged")
    finally:
        process.terminate()
        process.wait()


def _connect(family: str, address: Any) -> socket.socket | None:
    client = socket.socket(socket.AF_UNIX if family == "unix" else socket.AF_INET)
    client.settimeout(DEADLINE)
    try:
        client.connect(address)
    except OSError:
        client.close()
        return None
    return client
