"""Very many connections, at once or one after the other, leave the daemon as it was before."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from account import Account, asking, resident
from running import Daemon, open_files, read_exactly, running, wait_until

SLACK = 512
"""KiB by which the parent's memory may grow."""
PROCESSES = 4
LISTENS = "00010000"
"""The flags of a listener in /proc/net/unix."""


class Figures:
    """What a daemon holds when no client is connected and its spare children are back."""

    def __init__(self, daemon: Daemon) -> None:
        Account(daemon, 0).check_children()
        wait_until(lambda: not kept_connections(daemon), "the parent has closed its copies of the connections")
        self.descriptors = len(os.listdir(f"/proc/{daemon.pid}/fd")) - len(daemon.children())
        self.memory = resident(daemon.pid)

    def check(self, before: Figures) -> None:
        """Check that everything is as before."""
        assert self.descriptors <= before.descriptors  # that to the manager, which reads nothing, may be closed
        assert self.memory < before.memory + SLACK


def kept_connections(daemon: Daemon) -> set[str]:
    """How many connections the parent holds. /proc/net/unix lists an accepted socket by its listener's path."""
    lines = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    accepted = {f"socket:[{line[6]}]" for line in lines if line[-1:] == [str(daemon.path)] and line[3] != LISTENS}
    return accepted.intersection(open_files(daemon.pid))


def _ask(daemon: Daemon, count: int) -> None:
    """Make this many short connections, from several processes at once."""
    command = [sys.executable, str(Path(__file__).with_name("short.py")), str(daemon.path), str(count // PROCESSES)]
    with contextlib.ExitStack() as until:
        clients = [until.enter_context(subprocess.Popen(command)) for _ in range(PROCESSES)]
        assert [client.wait(150) for client in clients] == [0] * PROCESSES


@pytest.mark.parametrize(("reuse", "count"), [("100", 100_000), ("1", 5_000)])
def test_short_connections(folder: Path, reuse: str, count: int) -> None:
    """100,000 short connections, and 5,000 with a child each, leave no more descriptors, children or memory."""
    with running(folder, "--connections-per-child", reuse, "--spare-children", "4", "--max-children", "5") as daemon:
        account = Account(daemon, 0)
        _ask(daemon, 2_000)  # what is allocated only once
        before = Figures(daemon)
        with asking(daemon, bystanders=1):
            _ask(daemon, count)
        account.opened += range(2_000 + count)  # type: ignore[list-item]
        account.check_scoreboard()
        account.check_records()
        Figures(daemon).check(before)
        assert daemon.board.header["crashed"] == daemon.board.header["records_lost"] == 0


def _hold_thousand(daemon: Daemon) -> int:
    """Hold this many connections, all in use, while bystanders ask; return how often they asked."""
    with contextlib.ExitStack() as until, asking(daemon) as account:
        clients = [until.enter_context(daemon.held()) for _ in range(1_000)]
        account.wait_for_progress(10)
        for number, client in enumerate(clients):
            client.sendall(b"still %d" % number)
        for number, client in enumerate(clients):
            assert read_exactly(client, 6 + len(str(number))) == b"STILL %d" % number
    return sum(bystander.asked for bystander in account.bystanders)


@pytest.mark.usefixtures("many_descriptors")
def test_thousand_connections_held(folder: Path) -> None:
    """While 1,000 connections are held others are served; a repetition leaves the daemon as the first time did."""
    with running(folder, "--max-children", "1010", "--max-children-per-user", "1010") as daemon:
        _hold_thousand(daemon)  # what is allocated only once
        before = Figures(daemon)
        asked = _hold_thousand(daemon)
        Figures(daemon).check(before)
        assert daemon.stop() == 0
        header = daemon.board.header
        assert header["crashed"] == 0
        assert header["connections"] >= 2_000 + asked
