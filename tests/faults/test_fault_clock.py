"""Setting the wall clock affects no timer of the daemon."""

from __future__ import annotations

import ast
import signal
import time
from pathlib import Path

import pytest
from account import unaffected
from running import read_to_end, running
from shim import Shim

import upperd

HOUR = 3600
WALL_CLOCKS = {"time.time", "time.time_ns", "time.CLOCK_REALTIME", "datetime.now", "time.strftime", "time.localtime"}
ALLOWED = {
    "scoreboard.py": {"time.time_ns"},
    "status.py": {"time.strftime", "time.localtime"},
    "stats.py": {"time.strftime"},
}
"""Where the wall clock may be read: to show people when the daemon started, and what time it is."""


@pytest.mark.parametrize("seconds", [-HOUR, HOUR])
def test_clock_set(folder: Path, shim: Shim, seconds: int) -> None:
    """If the clock is set an hour back or forth, status, watchdog, pauses and the drain deadline keep their times."""
    environ = {**shim.environ, "WATCHDOG_USEC": "400000"}
    with running(folder, "--drain-timeout", "1", environ=environ) as daemon:
        with unaffected(daemon) as account:
            shim.set_clock(seconds)
            began = time.monotonic()
            for _ in range(5):
                daemon.manager.wait_for("WATCHDOG=1")
            daemon.manager.wait_for("STATUS=")
            assert time.monotonic() - began < 20
            account.wait_for_progress(20)
        with daemon.connect() as client:
            began = time.monotonic()
            client.sendall(b"a\xc3")  # this ends inside a character: the daemon waits for the rest, up to the deadline
            assert client.recv(1) == b"A"
            daemon.signal(signal.SIGTERM)
            assert read_to_end(client) == b"\xc3"
            assert daemon.wait() == 0
            assert 0.9 < time.monotonic() - began < 10


def test_shim_sets_the_clock(folder: Path, shim: Shim) -> None:
    """The shim works: a daemon that starts with the clock an hour off records that time as its start."""
    shim.set_clock(-HOUR)
    with running(folder, environ=shim.environ) as daemon:
        started = daemon.board.header["started_unix_usec"] / 1e6
    assert -HOUR - 60 < started - time.time() < -HOUR + 60
    assert shim.hits("clock") >= 1


def _wall_clocks(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.add(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.ImportFrom) and node.module in ("time", "datetime"):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found & WALL_CLOCKS


@pytest.mark.parametrize("path", sorted(Path(upperd.__file__).parent.rglob("*.py")), ids=lambda path: path.stem)
def test_no_deadline_by_the_wall_clock(path: Path) -> None:
    """No module reads the wall clock, except to say when the daemon started."""
    assert _wall_clocks(path) <= ALLOWED.get(path.name, set())
