"""`upperd --inetd` is the parent of one child, which serves the connection by the daemon's rules and limits."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from running import COMMAND, DEADLINE, ask_on, lives, open_files, read_to_end, wait_until
from sandbox import netlink_refused
from users import ALICE, BOB, connect_as, is_served, needs_root

STAFF = 61100
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Serves an accepted connection; its standard error can be read."""
    with contextlib.ExitStack() as stack:

        def serve(accepted: socket.socket, *options: str, **popen: Any) -> subprocess.Popen[str]:
            command, popen = [*COMMAND, "--inetd", *options], {"stdin": accepted, **popen}
            process: subprocess.Popen[str] = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, **popen)
            stack.enter_context(process)
            stack.callback(process.kill)
            accepted.close()
            return process

        yield serve


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client's end, and the end that a super-server accepted."""
    client, accepted = socket.socketpair()
    client.settimeout(DEADLINE)
    with client, accepted:
        yield client, accepted


def _tcp() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), DEADLINE)
        return client, listener.accept()[0]


def _said(process: subprocess.Popen[str]) -> str:
    """The log, once the process has ended."""
    return process.communicate(timeout=DEADLINE)[1]


def _child_of(process: subprocess.Popen[str]) -> int:
    """The one child."""
    [pid] = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(pid)


def test_one_child_serves(start: Start, pair: tuple[socket.socket, socket.socket]) -> None:
    """One child serves, with the connection and its channel open, and nothing that the super-server left open."""
    client, accepted = pair
    reading, writing = os.pipe()
    process = start(accepted, pass_fds=[writing], env={**os.environ, "LISTEN_FDNAMES": "x", "WATCHDOG_USEC": "9"})
    os.close(writing)
    assert is_served(client)
    child = _child_of(process)
    inodes = {name: os.readlink(f"/proc/{child}/fd/{name}") for name in os.listdir(f"/proc/{child}/fd")}
    assert inodes["0"] in [link for name, link in inodes.items() if name not in "012"], "it is standard input as well"
    others = {link for name, link in inodes.items() if name not in "012"} - {inodes["0"]}
    assert [re.sub(r"\d+", "N", link) for link in others] == ["socket:[N]"]
    assert not [link for link in open_files(child) if link.startswith("anon_inode")]
    names = {word.partition("=")[0] for word in Path(f"/proc/{child}/environ").read_text().split("\0")}
    assert not names.intersection(("LISTEN_FDNAMES", "WATCHDOG_USEC"))
    os.close(reading)
    client.close()
    assert " connections=1 " in _said(process)
    assert (process.returncode, lives(child)) == (0, False)


def test_child_that_is_killed(start: Start, pair: tuple[socket.socket, socket.socket]) -> None:
    """If the child is killed the client reads the end, the record names the signal, and the status is 70."""
    client, accepted = pair
    process = start(accepted)
    assert is_served(client)
    os.kill(_child_of(process), signal.SIGKILL)
    assert read_to_end(client) == b""
    assert "ended by SIGKILL (out of memory?)" in _said(process)
    assert process.returncode == 70


def test_parent_that_is_killed(start: Start, pair: tuple[socket.socket, socket.socket]) -> None:
    """If the parent is killed the conversation goes on to its end, and the child ends with it."""
    client, accepted = pair
    process = start(accepted)
    assert is_served(client)
    child = _child_of(process)
    process.kill()
    process.wait(DEADLINE)
    assert is_served(client)
    assert ask_on(client, b"end") == b"END"
    wait_until(lambda: not lives(child), "the child ends")


@pytest.mark.parametrize(
    ("options", "is_let_in"),
    [
        ((), [True, True, True]),
        (("--deny-user", str(BOB)), [True, False, True]),
        (("--allow-user", str(ALICE)), [True, False, False]),
        (("--allow-group", str(STAFF)), [False, False, True]),
        (("--allow-group", str(STAFF), "--deny-user", "0"), [False, False, False]),
    ],
)
def test_rules_are_the_daemons(folder: Path, start: Start, options: tuple[str, ...], is_let_in: list[bool]) -> None:
    """Users and groups, supplementary ones too, are admitted or refused as by the daemon; a refusal is logged."""
    needs_root(folder)
    peers = [{"uid": ALICE}, {"uid": BOB}, {"uid": 0, "groups": [STAFF]}]
    path = folder / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen()
        address: Any = SimpleNamespace(path=path)
        for peer, expected in zip(peers, is_let_in, strict=True):
            [client] = connect_as(address, **peer)  # type: ignore[arg-type]
            process = start(listener.accept()[0], *options)
            with client:
                assert is_served(client) == expected
            said = _said(process)
            assert (process.returncode, " deny: " in said, " end: " in said) == (0, not expected, expected)


@pytest.mark.parametrize(
    ("options", "known", "unknown"),
    [
        ((), True, True),
        (("--allow-user", str(os.geteuid())), True, False),
        (("--deny-user", str(os.geteuid())), False, True),
    ],
)
def test_rules_by_tcp(start: Start, options: tuple[str, ...], known: bool, unknown: bool) -> None:
    """On loopback a rule knows the peer's user; if the kernel does not name it, no rule about a user holds."""
    for expected, popen in ((known, {}), (unknown, {"preexec_fn": netlink_refused()})):
        client, accepted = _tcp()
        process = start(accepted, *options, **popen)
        with client:
            assert is_served(client) == expected
        said = _said(process)
        assert (process.returncode, " deny: " in said) == (0, not expected)
        assert ("peer_uid=" in said) == (not popen)


@pytest.mark.parametrize("family", ["unix", "tcp"])
def test_limits_of_the_daemons_file(folder: Path, start: Start, family: str) -> None:
    """The limits in the daemon's own file hold, and what the kernel had taken by then is answered."""
    (folder / "c.toml").write_text("max-bytes = 5\nidle-timeout = 20\nmax-lifetime = 30\n")
    client, accepted = socket.socketpair() if family == "unix" else _tcp()
    client.settimeout(DEADLINE)
    process = start(accepted, "--config", str(folder / "c.toml"))
    with client:
        client.sendall(b"abcdefgh")
        assert read_to_end(client) == b"ABCDE"
    assert re.search(r" bytes_in=5 bytes_out=5 .* outcome=bytes", _said(process))
    assert process.returncode == 0
