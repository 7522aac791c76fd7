"""What a child has of its parent: its listener, its link, and nothing else."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from pathlib import Path

import pytest
from running import Daemon, activated, open_files, running, wait_until


def _sockets(pid: int) -> set[str]:
    return {link for link in open_files(pid) if link.startswith("socket:")}


def _listening_inodes(daemon: Daemon) -> set[str]:
    """The listening sockets of the daemon, as /proc/PID/fd names them (proc(5), net/unix and net/tcp)."""
    found = set()
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == "00010000":  # __SO_ACCEPTCON
            found.add(f"socket:[{words[6]}]")
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                found.add(f"socket:[{words[9]}]")
    return found & _sockets(daemon.pid)


def test_child_holds_one_listener(folder: Path) -> None:
    """Of several listeners a child holds the one it serves: not its sisters', so none outlives its own children."""
    with running(folder, "--tcp", "127.0.0.1:0", "--spare-children", "2") as daemon:
        listening = _listening_inodes(daemon)
        assert len(listening) == 2
        for pid in daemon.children():  # it was forked, and closes what is not its own first thing
            wait_until(lambda pid=pid: len(_sockets(pid) & listening) == 1, "it holds one listener")  # type: ignore[misc]
        held = [_sockets(pid) & listening for pid in daemon.children()]
    assert [len(listeners) for listeners in held] == [1, 1, 1, 1]
    assert set().union(*held) == listening


def test_descriptors_of_a_child_are_few_and_known(folder: Path) -> None:
    """A child has standard streams, listener, connection, and four descriptors to its parent: nothing else."""
    with running(folder, environ={"WATCHDOG_USEC": "60000000"}) as daemon, daemon.held():
        busy = next(child["pid"] for child in daemon.board.children if not child["waiting"])
        links = open_files(busy)
        standard = {os.readlink(f"/proc/{busy}/fd/{number}") for number in (0, 1, 2)}
        kinds = sorted(re.sub(r"\d+", "N", link) for link in links if link not in standard)
        shared = _sockets(busy) & _sockets(daemon.pid)
    # /dev/null counts as a standard stream here: it is standard input.
    assert kinds == ["anon_inode:[eventfd]", "pipe:[N]", "socket:[N]", "socket:[N]", "socket:[N]"]
    assert len(shared) == 2, "the listener, and the child's end of `passing`"


def test_later_child_holds_no_more(folder: Path) -> None:
    """A child that is forked while others are busy inherits none of their connections and none of their pidfds."""
    with running(folder, "--spare-children", "2") as daemon, contextlib.ExitStack() as until:
        for _ in range(8):
            until.enter_context(daemon.held())
        spare = wait_until(lambda: _waiting(daemon), "a child waits")
        # Standard streams, listener, `passing`, `poke`, the lifeline, /dev/null: it closes the rest first thing.
        wait_until(lambda: len(open_files(spare)) == 8, "it has what is its own, and nothing else")


@pytest.mark.parametrize("way", ["bound", "activated"])
def test_environment_is_scrubbed(folder: Path, way: str) -> None:
    """The manager's variables stand in nobody's environment: not the parent's, not a child's."""
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
    """No child ever sends to the manager: all that comes is from the main process."""
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
    """The pid of a child that waits; 0: there is none, or it is being forked at this moment."""
    return next((child["pid"] for child in daemon.board.children if child["waiting"]), 0)
