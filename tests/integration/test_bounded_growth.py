"""No client makes the daemon grow or write files: memory, descriptors and files stay as they were."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Daemon, running, wait_until

BULK = 64 * 1024 * 1024
"""Bytes that a client sends, far more than the child may grow by."""
MOST_KIB = 8 * 1024


def _rss(pid: int) -> int:
    """KiB (proc(5), VmRSS)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _files(folder: Path) -> set[tuple[str, int]]:
    """Every file in the runtime folder with its size, except the test's log."""
    return {(path.name, path.stat().st_size) for path in folder.iterdir() if path.name != "log"}


def _served_by(daemon: Daemon) -> int:
    """The child of the one connection."""

    def found() -> int:
        busy = [child["pid"] for child in daemon.board.children if not child["waiting"] and child["bytes_out"]]
        return busy[0] if len(busy) == 1 else 0

    return wait_until(found, "one child is busy")


def _pour(client: socket.socket, pattern: bytes) -> int:
    """Send BULK bytes of a pattern and read the answer meanwhile; return how much came back."""
    received = 0

    def read() -> None:
        nonlocal received
        while block := client.recv(1 << 20):
            received += len(block)

    reader = threading.Thread(target=read)
    reader.start()
    block = pattern * (65536 // len(pattern))
    for _ in range(BULK // len(block)):
        client.sendall(block)
    wait_until(lambda: received >= BULK // len(block) * len(block) - 3, "the answer has come back")
    client.shutdown(socket.SHUT_RD)
    reader.join()
    return received


@pytest.fixture
def one(folder: Path) -> Iterator[Daemon]:
    with running(folder, "--spare-children", "1", "--max-children", "4") as daemon:
        yield daemon


PATTERNS = {"one line": b"x", "undecodable": b"\xff", "unfinished": b"\xf0\x9f\x98", "surrogates": b"\xed\xa0"}


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_endless_input(one: Daemon, folder: Path, pattern: bytes) -> None:
    """Endless text without a newline, or of invalid UTF-8, passes through a child without making it grow."""
    with one.held() as client:
        child = _served_by(one)
        before = _rss(one.pid), _rss(child), _descriptors(one.pid), _descriptors(child), _files(folder)
        _pour(client, pattern)
        assert _rss(one.pid) < before[0] + MOST_KIB
        assert _rss(child) < before[1] + MOST_KIB
        assert _descriptors(one.pid) <= before[2] + 1  # a spare child may be starting still
        assert (_descriptors(child), _files(folder)) == before[3:]


def test_client_that_does_not_read(one: Daemon) -> None:
    """A client that sends for ever and never reads is blocked by the kernel's buffers; its child does not grow."""
    with one.held() as client:
        child = _served_by(one)
        before = _rss(child)
        client.setblocking(False)
        sent = 0
        try:
            while sent < BULK:
                select.select([], [client], [], 0.2)
                sent += client.send(b"x" * 65536)
        except BlockingIOError:
            pass  # nothing was taken for a second
        assert sent < BULK
        assert _rss(child) < before + MOST_KIB


def test_many_connections(folder: Path) -> None:
    """Many connections, one after the other and at once, leave no descriptor, file or child behind."""
    with running(folder, "--spare-children", "2", "--max-children", "8") as daemon:
        for _ in range(50):
            assert daemon.ask(b"x") == b"X"
        before = _rss(daemon.pid), _files(folder)
        for _ in range(10):
            clients = [daemon.connect() for _ in range(50)]
            assert len(daemon.children()) <= 8
            for client in clients:
                client.close()
        wait_until(lambda: daemon.board.header["connections"] == 550, "all are served")
        wait_until(lambda: len(daemon.children()) <= 4 and not daemon.board.busy, "idle children have left")
        assert daemon.ask(b"x") == b"X"
        assert _rss(daemon.pid) < before[0] + MOST_KIB
        assert _files(folder) == before[1]
        wait_until(lambda: _descriptors(daemon.pid) < 32, "the parent has closed what it held")
