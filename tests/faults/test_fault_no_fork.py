"""fork() fails for nine seconds under load: connections wait in the queue, and none is lost."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from account import once, unaffected
from running import running, wait_until
from shim import Shim

SECONDS = 9


@pytest.mark.parametrize(
    ("error", "text"), [("EAGAIN", "Resource temporarily unavailable"), ("ENOMEM", "Cannot allocate memory")]
)
def test_no_process_for_nine_seconds(folder: Path, shim: Shim, error: str, text: str) -> None:
    """While fork() fails new clients wait, and are served later; the log has each pause, and the end of the trouble."""
    single = ("--connections-per-child", "1")  # so that each connection needs a fork
    with running(folder, *single, environ=shim.environ) as daemon, unaffected(daemon, bystanders=8):
        began = time.monotonic()
        with shim.failing("fork", error):
            wait_until(lambda: time.monotonic() > began + SECONDS, "nine seconds pass")
    failures = shim.hits("fork")
    lines = [line for line in daemon.log.splitlines() if f" throttle: fork: {text}; " in line]
    pauses = [int(line.rpartition("pause_usec=")[2]) for line in lines]
    assert pauses == [100_000, 200_000, 400_000, 800_000, 1_600_000, 3_200_000, 5_000_000][: len(pauses)]
    assert len(pauses) in (6, 7)
    assert daemon.board.header["fork_failures"] == failures == len(pauses)
    assert daemon.board.header["crashed"] == 0
    once(daemon.log, " resume: ")


def test_not_ready_without_a_child(folder: Path, shim: Shim) -> None:
    """If fork() fails at the start, the daemon says why it is not ready, and becomes ready by itself later."""
    with ExitStack() as faults:
        faults.enter_context(shim.failing("fork", "EAGAIN"))
        with running(folder, environ=shim.environ, ready=False) as daemon:
            daemon.manager.wait_for("STATUS=starting: no child process yet: fork: Resource temporarily unavailable")
            assert "READY=1" not in daemon.manager.messages
            faults.close()
            daemon.manager.wait_for("READY=1")
            assert daemon.ask(b"x") == b"X"


def test_end_while_it_waits_for_a_child(folder: Path, shim: Shim) -> None:
    """SIGTERM ends a daemon that has no child yet."""
    with shim.failing("fork", "EAGAIN"), running(folder, environ=shim.environ, ready=False) as daemon:
        daemon.manager.wait_for("STATUS=starting: no child process")
        assert daemon.stop() == 0
