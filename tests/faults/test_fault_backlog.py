"""The backlog is full: queued clients are served, and the kernel refuses further ones, which may try again."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from pathlib import Path

import pytest
from account import asking
from running import DEADLINE, activated, ask_on, read_exactly, read_to_end, running, wait_until

BACKLOG = 2
QUEUE = 1
"""Connections that wait in the daemon; all others wait in the kernel."""
LIMITS = ("--max-children", "2", "--max-children-per-user", "2", "--max-queue", str(QUEUE))


def test_backlog_full(folder: Path) -> None:
    """If all children are busy and both queues full, connect() waits or fails with EAGAIN; later everyone is served."""
    path = folder / "upperd.sock"
    answers: list[bytes] = []

    def ask() -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", int(DEADLINE), 0))
            client.connect(str(path))  # with a Python time-out it would fail at once
            answers.append(ask_on(client, b"waited"))

    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as until:
        listener.bind(str(path))
        listener.listen(BACKLOG)
        with running(folder, **activated(folder, [listener], *LIMITS)) as daemon:
            holding = [until.enter_context(daemon.held()) for _ in range(2)]
            queued = [until.enter_context(daemon.connect()) for _ in range(QUEUE)]
            wait_until(lambda: daemon.board.header["queued"] == QUEUE, "the daemon's queue is full")
            queued += [until.enter_context(daemon.connect()) for _ in range(BACKLOG + 1)]  # listen(2): one more
            for client in queued:
                client.sendall(b"queued")
                client.shutdown(socket.SHUT_WR)
            hasty = until.enter_context(socket.socket(socket.AF_UNIX))
            hasty.setblocking(False)
            with pytest.raises(BlockingIOError):
                hasty.connect(str(path))
            waiting = [threading.Thread(target=ask) for _ in range(5)]
            for thread in waiting:
                thread.start()
            for client in holding:
                client.sendall(b"still here")
                assert read_exactly(client, 10) == b"STILL HERE"
                client.close()
            assert [read_to_end(client) for client in queued] == [b"QUEUED"] * len(queued)
            for thread in waiting:
                thread.join(DEADLINE)
            assert answers == [b"WAITED"] * 5
            hasty.settimeout(DEADLINE)
            hasty.connect(str(path))
            assert ask_on(hasty, b"again") == b"AGAIN"
            opened = [*holding, *queued, *waiting, hasty]
            with asking(daemon, bystanders=1) as account:
                account.opened += opened  # type: ignore[arg-type]
            wait_until(lambda: (daemon.board.busy, daemon.board.spare) == (0, 2), "spare children are back")
            account.check_scoreboard()
            account.check_records()
