"""The parent is killed: its children go with it, and who waits in the queue is served by the next daemon."""

from __future__ import annotations

import contextlib
import signal
import socket
from pathlib import Path

import pytest
from account import asking, recorded
from running import activated, lives, read_to_end, running, wait_until


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_parent_killed(folder: Path, number: signal.Signals) -> None:
    """No child outlives its parent, the last figures have every connection, and nobody in the queue is lost."""
    path = folder / "upperd.sock"
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as until:
        listener.bind(str(path))
        listener.listen(socket.SOMAXCONN)
        with running(folder, **activated(folder, [listener], "--max-children", "3")) as daemon:
            served = [until.enter_context(daemon.held()) for _ in range(3)]
            queued = [until.enter_context(daemon.connect()) for _ in range(5)]
            for client in queued:
                client.sendall(b"queued")
                client.shutdown(socket.SHUT_WR)
            children = wait_until(lambda: found if len(found := daemon.children()) == 3 else [], "three children")
            daemon.signal(number)
            assert daemon.wait() == -number
            assert [client.recv(1) for client in served] == [b""] * 3
            wait_until(lambda: not any(map(lives, children)), "every child ends")
            assert daemon.board.header["connections"] == 3
        (folder / "log").unlink()
        with running(folder, **activated(folder, [listener])) as daemon:
            with asking(daemon) as account:
                account.opened += queued
                assert [read_to_end(client) for client in queued] == [b"QUEUED"] * 5
            account.check_children()
            account.check_scoreboard()
            account.check_records()
            assert recorded(daemon.log) == len(account.opened)
