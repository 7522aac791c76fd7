"""What a child inherits from its parent: their channel, its connection, and nothing else."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from pathlib import Path

import pytest
from datagrams import ask, at, sender, serving
from holdings import listeners
from running import Daemon, activated, open_files, running, wait_until


def _sockets(pid: int) -> set[str]:
    return {link for link in open_files(pid) if link.startswith("socket:")}


def _listening_inodes(daemon: Daemon) -> set[str]:
    """The listening sockets of the daemon, as /proc/PID/fd names them (proc(5), net/unix and net/tcp)."""
    return listeners() & _sockets(daemon.pid)


def _own_files(pid: int) -> list[str]:
    """What a process has open besides the files of its standard streams, with inode numbers as N."""
    standard = {os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1, 2)}
    return sorted(re.sub(r"\d+", "N", link) for link in open_files(pid) if link not in standard)


def test_child_holds_no_listener(folder: Path) -> None:
    """No child holds a listener, so none can accept, and none keeps a listener from the next daemon."""
    with running(folder, "--tcp", "127.0.0.1:0", "--spare-children", "2") as daemon, daemon.held():
        listening = _listening_inodes(daemon)
        assert len(listening) == 2
        for pid in daemon.children():  # a new child first closes what is not its own
            wait_until(lambda pid=pid: not _sockets(pid) & listening, "it holds no listener")  # type: ignore[misc]


def test_descriptors_of_a_child_are_few_and_known(folder: Path) -> None:
    """A busy child has standard streams, its end of the channel to its parent, and its connection: nothing else."""
    with running(folder, environ={"WATCHDOG_USEC": "60000000"}) as daemon, daemon.held():
        busy = next(child["pid"] for child in daemon.board.children if not child["waiting"])
        assert _own_files(busy) == ["socket:[N]", "socket:[N]"]
        # The parent keeps the connection until the child has finished.
        assert len(_sockets(busy) & _sockets(daemon.pid)) == 1


def test_idle_child_holds_the_channel_alone(daemon: Daemon) -> None:
    """A child that waits for more connections has its end of the channel, and no connection any more."""
    assert daemon.ask(b"x") == b"X"
    served = next(child["pid"] for child in daemon.board.children if child["connections"])
    wait_until(lambda: _own_files(served) == ["socket:[N]"], "it has closed the connection")
    assert not _sockets(served) & _sockets(daemon.pid)


def test_later_child_holds_no_more(folder: Path) -> None:
    """A child that is forked while others are busy inherits none of their connections and none of their channels."""
    with running(folder, "--spare-children", "2") as daemon, contextlib.ExitStack() as until:
        for _ in range(8):
            until.enter_context(daemon.held())
        spare = wait_until(lambda: _waiting(daemon), "a child waits")
        wait_until(lambda: _own_files(spare) == ["socket:[N]"], "it has its own channel, and nothing else")


def test_child_of_datagrams_holds_its_channel(folder: Path) -> None:
    """A child that answers datagrams holds no socket of the daemon: its parent sends the answers."""
    with serving(folder, "--udp", "127.0.0.1:0", "--spare-children", "2") as daemon, sender(at(folder)) as client:
        assert ask(client, b"x") == b"X"
        pid = next(child["pid"] for child in daemon.board.children if child["connections"])
        wait_until(lambda: _own_files(pid) == ["socket:[N]"], "the channel, and nothing else")
        assert not _sockets(pid) & _sockets(daemon.pid)


@pytest.mark.parametrize("way", ["bound", "activated"])
def test_environment_is_scrubbed(folder: Path, way: str) -> None:
    """The manager's variables are in no environment: neither the parent's, nor a child's."""
    environ = {"WATCHDOG_USEC": "60000000", "LISTEN_FDNAMES": ""}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / ("upperd.sock" if way == "activated" else "other.sock")))
        listener.listen()
        arguments = activated(folder, [listener], names="one") if way == "activated" else {}
        with running(folder, environ=environ, **arguments) as daemon, daemon.held():
            seen = {
                name.partition("=")[0]
                for pid in (daemon.pid, *daemon.children())
                for name in Path(f"/proc/{pid}/environ").read_text().split("\0")
            }
    assert [name for name in seen if name.startswith(("NOTIFY_", "WATCHDOG_", "LISTEN_"))] == []


def test_nobody_may_mistake_a_child_for_the_manager(folder: Path) -> None:
    """No child ever sends to the manager: all messages come from the main process."""
    with running(folder, environ={"WATCHDOG_USEC": "100000"}) as daemon:
        daemon.manager.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        senders = set()
        for _ in range(20):
            assert daemon.ask(b"x") == b"X"
            daemon.manager.socket.settimeout(30)
            _, rights, _, _ = daemon.manager.socket.recvmsg(4096, 1024)
            for level, kind, data in rights:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    senders.add(int.from_bytes(data[:4], "little"))
    assert senders - {0} == {daemon.pid}


def _waiting(daemon: Daemon) -> int:
    """The pid of a child that waits; 0 if there is none, or it is just being forked."""
    return next((child["pid"] for child in daemon.board.children if child["waiting"]), 0)
