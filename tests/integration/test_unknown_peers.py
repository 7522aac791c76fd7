"""Peers whose user is unknown: a child each for one connection, unless --reuse-unknown says otherwise."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from datagrams import ask, sender
from running import DEADLINE, Daemon, ask_on, free_port, running
from sandbox import netlink_refused
from users import connect_as, needs_root

NOBODY = 65534
"""The uid that replaces uids without a mapping in a user namespace (/proc/sys/kernel/overflowuid)."""
Start = Callable[..., Daemon]


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    """A daemon with TCP beside the path, in a sandbox that hides its peers' users."""
    with ExitStack() as stack:
        yield lambda *options, **popen: stack.enter_context(
            running(folder, "--tcp", "127.0.0.1:0", *options, preexec_fn=netlink_refused(), **popen)
        )


def _connect(daemon: Daemon) -> socket.socket:
    [port] = re.findall(r"tcp:127\.0\.0\.1:(\d+)", " ".join(daemon.board.listeners))
    return socket.create_connection(("127.0.0.1", int(port)), DEADLINE)


def _ask(daemon: Daemon, count: int) -> None:
    """Make this many connections by TCP, one after the other."""
    for _ in range(count):
        with _connect(daemon) as client:
            assert ask_on(client, b"x") == b"X"


def _served(daemon: Daemon) -> list[tuple[str, int]]:
    """The users that each child served, and how many connections, from the records of a daemon that has ended."""
    assert daemon.stop() == 0
    records = [dict(re.findall(r" (\w+)=(\S*)", line)) for line in daemon.log.splitlines() if " end: " in line]
    return sorted((record.get("peer_uid", "unknown"), int(record["connections"])) for record in records)


def test_a_child_for_each(start: Start) -> None:
    """Each connection of an unknown peer gets a new child, even if one is free, and the child ends."""
    daemon = start("--spare-children", "2")
    _ask(daemon, 12)
    assert _served(daemon) == [("unknown", 1)] * 12


def test_at_the_same_time(start: Start) -> None:
    """Unknown peers that stay have a child each, too, and the next one takes the place of the first that leaves."""
    daemon = start("--max-children", "4", "--max-children-per-user", "0", "--spare-children", "1")
    with ExitStack() as stack:
        held = [stack.enter_context(_connect(daemon)) for _ in range(5)]
        for client in held[:4]:
            client.sendall(b"x")
            assert client.recv(1) == b"X"
        assert daemon.board.busy == 4
        assert ask_on(held[0], b"over") == b"OVER"
        assert ask_on(held[4], b"next") == b"NEXT"
    assert _served(daemon) == [("unknown", 1)] * 5


def test_known_users_are_apart(start: Start) -> None:
    """A known user's idle child serves no unknown peer, nor the other way round."""
    daemon = start("--max-children", "2", "--spare-children", "1")
    for _ in range(4):
        assert daemon.ask(b"x") == b"X"
        _ask(daemon, 1)
    served = _served(daemon)
    assert [count for who, count in served if who == "unknown"] == [1] * 4
    assert sum(count for who, count in served if who != "unknown") == 4


def test_they_share_where_it_is_said(start: Start) -> None:
    """With --reuse-unknown one child serves unknown peers one after the other, and known users still have their own."""
    daemon = start("--reuse-unknown")
    _ask(daemon, 12)
    assert daemon.ask(b"x") == b"X"
    assert [count for _, count in _served(daemon)] == [1, 12]


def test_reload_takes_it_back(start: Start, folder: Path) -> None:
    """After a reload without reuse-unknown each unknown peer has its own child, and none that others have used."""
    config = folder / "upperd.toml"
    config.write_text("reuse-unknown = true\n")
    daemon = start("--config", str(config))
    _ask(daemon, 3)
    config.write_text("")
    daemon.signal(signal.SIGHUP)
    daemon.manager.wait_for("RELOADING=1")
    daemon.manager.wait_for("READY=1")
    _ask(daemon, 3)
    assert _served(daemon) == [("unknown", 1)] * 3 + [("unknown", 3)]


@pytest.mark.parametrize("options", [(), ("--reuse-unknown",)])
def test_senders_by_udp(folder: Path, options: tuple[str, ...]) -> None:
    """A UDP datagram, whose sender the kernel does not name, has a child of its own, unless --reuse-unknown is set."""
    port = free_port()
    with running(folder, "--udp", f"127.0.0.1:{port}", *options) as daemon:
        with sender(("127.0.0.1", port)) as client:
            for number in range(6):
                assert ask(client, b"text %d" % number) == b"TEXT %d" % number
        served = _served(daemon)
    assert {who for who, _ in served} == {"unknown"}
    assert sum(count for _, count in served) == 6
    assert (max(count for _, count in served) > 1) == bool(options)


def test_uid_that_stands_for_several(folder: Path) -> None:
    """Peers with the overflow uid, which may be several users, are served as unknown ones: a child for each."""
    needs_root(folder)
    with running(folder, "--socket-mode", "0666", "--spare-children", "2") as daemon:
        for connection in connect_as(daemon, NOBODY, count=4):
            with connection:
                assert ask_on(connection, b"x") == b"X"
        assert _served(daemon) == [(str(NOBODY), 1)] * 4
