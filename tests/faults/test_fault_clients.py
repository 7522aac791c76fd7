"""A client that is slow, rude or gone concerns only its own child."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import time
from pathlib import Path

import pytest
from account import Account, asking, held, once, resident, unaffected
from running import DEADLINE, Daemon, read_exactly, read_to_end, running, wait_until

RESET_AT_CLOSE = struct.pack("@ii", 1, 0)
"""SO_LINGER (socket(7)): on, for zero seconds."""


def test_slow_reader(folder: Path) -> None:
    """A client that reads its answer in small pieces, with pauses, gets every byte of it."""
    data = b"slow " * 200_000
    with running(folder) as daemon, unaffected(daemon) as account, daemon.connect() as client:
        client.setblocking(False)
        sent = received = 0
        while received < len(data):
            with contextlib.suppress(BlockingIOError):
                sent += client.send(data[sent : sent + 65536])
            if received % 100_000 < 20_000:
                account.wait_for_progress(1)
            with contextlib.suppress(BlockingIOError):
                block = client.recv(20_000)
                assert block == data[received : received + len(block)].upper()
                received += len(block)
        client.shutdown(socket.SHUT_WR)
        client.settimeout(DEADLINE)
        assert read_to_end(client) == b""


def test_slow_writer(folder: Path) -> None:
    """A client that sends one byte a second gets each byte's answer at once, or when its character is complete."""
    text = "aß"
    with running(folder) as daemon, unaffected(daemon), daemon.connect() as client:
        answer, due = b"", time.monotonic()
        for byte in text.encode():
            wait_until(lambda due=due: time.monotonic() >= due, "a second passes")  # type: ignore[misc]
            client.sendall(bytes([byte]))
            due += 1
            if byte == ord("a"):
                answer += client.recv(16)
        assert answer + read_exactly(client, 2) == text.upper().encode()


def _send(client: socket.socket, size: int) -> int:
    """Send as many of `count` bytes as the kernel takes without blocking."""
    sent, block = 0, bytes(65536)
    with contextlib.suppress(BlockingIOError):
        while sent < size:
            sent += client.send(block[: size - sent])
    return sent


def test_client_that_never_reads(folder: Path) -> None:
    """A client that sends 100 MiB and never reads costs no memory, and its child is killed at the drain deadline."""
    with running(folder, "--drain-timeout", "0.5") as daemon, held(daemon) as (client, pid):
        before, sent = resident(pid), 0
        client.setblocking(False)
        with asking(daemon) as account:
            account.opened.append(client)
            for _ in range(10):
                sent += _send(client, (100 << 20) - sent)
                account.wait_for_progress(5)
        assert sent < 4 << 20, "more than the kernel's buffers hold was taken"
        assert resident(pid) < before + 1024  # KiB
        assert daemon.stop() == 0
        account.check_scoreboard_at_end()
    assert "was killed at the drain deadline" in once(daemon.log, f"child_pid={pid} ")


def test_half_close_at_once(folder: Path) -> None:
    """A client that half-closes at once, without sending, sees an end of file, and is counted."""
    with running(folder) as daemon, unaffected(daemon):
        for _ in range(50):
            assert daemon.ask(b"") == b""
    assert daemon.board.header["crashed"] == 0


def test_client_leaves_at_once(folder: Path) -> None:
    """A client that leaves before it is accepted is counted like any other, and is no error."""
    with running(folder) as daemon, unaffected(daemon):
        for _ in range(50):
            daemon.connect().close()
    assert daemon.board.header["crashed"] == 0


def _tcp(daemon: Daemon) -> socket.socket:
    found = re.search(r"tcp:127\.0\.0\.1:(\d+)", " ".join(daemon.board.listeners))
    assert found is not None
    return socket.create_connection(("127.0.0.1", int(found[1])), DEADLINE)


@pytest.mark.parametrize("family", ["unix", "tcp"])
def test_reset_in_the_middle(folder: Path, family: str) -> None:
    """A client that leaves while its answer is sent is recorded as reset, which is no error."""
    with running(folder, "--tcp", "127.0.0.1:0", "--spare-children", "2") as daemon:

        def leave(account: Account) -> None:
            client = daemon.connect() if family == "unix" else _tcp(daemon)
            if family == "tcp":
                account.opened.append(client)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
            with client:
                client.setblocking(False)
                _send(client, 10 << 20)  # until nothing moves: an answer waits to be read

        with asking(daemon) as account:
            for _ in range(10):
                account.wait_for_progress(1)
                leave(account)
        wait_until(lambda: (daemon.board.busy, daemon.board.spare) == (0, 4), "spare children are back")
        account.check_scoreboard()
        account.check_records()
        assert daemon.board.header["crashed"] == 0
        leave(account)  # connect again, since a record says how its child's last connection ended
        wait_until(lambda: daemon.board.busy == 0, "its child has noticed")
        assert daemon.stop() == 0
    assert " outcome=reset " in daemon.log
    assert "<3>" not in daemon.log
