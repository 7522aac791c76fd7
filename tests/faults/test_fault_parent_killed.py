"""The parent is killed: its children finish their connections, and the next daemon serves the kernel's queue."""

from __future__ import annotations

import contextlib
import signal
import socket
from pathlib import Path

import pytest
from account import asking, recorded
from running import activated, ask_on, lives, read_exactly, read_to_end, running, wait_until

LIMITS = ("--max-children", "3", "--max-children-per-user", "3", "--max-queue", "1")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_parent_killed(folder: Path, number: signal.Signals) -> None:
    """If the parent is killed, a conversation goes on and a waiting child ends; only the parent's own queue is lost."""
    path = folder / "upperd.sock"
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as until:
        listener.bind(str(path))
        listener.listen(socket.SOMAXCONN)
        with running(folder, **activated(folder, [listener], *LIMITS)) as daemon:
            served = [until.enter_context(daemon.held()) for _ in range(3)]
            lost = until.enter_context(daemon.connect())
            wait_until(lambda: daemon.board.header["queued"] == 1, "the queue is full")
            queued = [until.enter_context(daemon.connect()) for _ in range(5)]
            for client in queued:
                client.sendall(b"queued")
                client.shutdown(socket.SHUT_WR)
            children = wait_until(lambda: found if len(found := daemon.children()) == 3 else [], "three children")
            daemon.signal(number)
            assert daemon.wait() == -number
            assert lost.recv(1) == b""
            old = daemon.board
        (folder / "log").rename(folder / "old-log")
        with running(folder, **activated(folder, [listener])) as daemon:
            with asking(daemon) as account:
                account.opened += queued
                assert [read_to_end(client) for client in queued] == [b"QUEUED"] * 5
                for client in served:
                    client.sendall(b"still here")
                    assert read_exactly(client, 10) == b"STILL HERE"
                    assert all(map(lives, children))
                assert [ask_on(client, b"to the end") for client in served] == [b"TO THE END"] * 3
                wait_until(lambda: not any(map(lives, children)), "every child ends")
            account.check_children()
            account.check_scoreboard()
            account.check_records()
            assert recorded(daemon.log) <= len(account.opened)
    assert old.header["connections"] == 3
    assert "Traceback" not in (folder / "old-log").read_text()
    assert "<3>" not in (folder / "old-log").read_text()


def test_idle_children_leave(folder: Path) -> None:
    """Waiting children, spare or idle, end at once and silently when their parent is killed."""
    with running(folder) as daemon:
        assert [daemon.ask(b"x") for _ in range(20)] == [b"X"] * 20
        children = daemon.children()
        daemon.signal(signal.SIGKILL)
        daemon.wait()
        wait_until(lambda: not any(map(lives, children)), "every child ends")
    assert "<3>" not in daemon.log
