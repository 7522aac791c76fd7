"""The manager's queue is full, as any local user can make it: important messages arrive once the manager reads."""

from __future__ import annotations

import contextlib
import signal
import socket
from pathlib import Path

import pytest
from running import COMMAND, Daemon, running, wait_until
from transfers import continuing

OF_OTHERS = "X_FLOOD=1"


def _fill(daemon: Daemon) -> None:
    """Fill the manager's queue."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, contextlib.suppress(BlockingIOError):
        sender.setblocking(False)
        sender.connect(str(daemon.manager.path))
        while True:
            sender.send(OF_OTHERS.encode())


def _heard(daemon: Daemon, last: str) -> list[str]:
    """What the manager receives up to `last`, without the messages that repeat."""
    del daemon.manager.messages[:]
    daemon.manager.wait_for(last)
    return [line for line in daemon.manager.messages if line.endswith("=1") and line not in (OF_OTHERS, "WATCHDOG=1")]


def test_everything_comes_in_order(folder: Path) -> None:
    """READY, stored descriptors, a reload and the end are sent again until there is room, in their order."""
    with running(folder, "--store-listeners", ready=False, command=_after_it_is_full(folder)) as daemon:
        _fill(daemon)
        (folder / "go").write_text("")
        wait_until(lambda: " ready: " in daemon.log, "it is ready")
        assert daemon.ask(b"x") == b"X"
        assert _heard(daemon, "READY=1") == ["FDSTORE=1", "READY=1"]
        assert len(daemon.manager.stored) == 1

        _fill(daemon)
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: " reload: " in daemon.log, "it has reloaded")
        assert _heard(daemon, "READY=1") == ["RELOADING=1", "READY=1"]

        with daemon.held() as held, continuing(held):  # so that it does not end before we read
            _fill(daemon)
            daemon.signal(signal.SIGTERM)
            wait_until(lambda: " drain: " in daemon.log, "it drains")
            assert _heard(daemon, "STOPPING=1") == ["STOPPING=1"]
        assert daemon.wait() == 0


def _after_it_is_full(folder: Path) -> list[str]:
    """The daemon's command line, started once a file `go` exists."""
    options = ["--socket", str(folder / "upperd.sock"), "--no-fallback", "--store-listeners"]
    script = 'until test -e "$0"; do :; done; exec "$@"'
    return ["sh", "-c", script, str(folder / "go"), *COMMAND, *options]


def test_end_does_not_wait_for_ever(folder: Path) -> None:
    """A manager that never reads again delays the daemon's end only by a moment."""
    with running(folder) as daemon:
        _fill(daemon)
        assert daemon.stop() == 0


@pytest.mark.parametrize("letter", ["x", "ß"])
def test_long_reason(folder: Path, letter: str) -> None:
    """A reason that is too long for the manager is cut at its end, and arrives with errno and exit status."""
    with running(folder, "--datagram", f"/{letter * 5000}", ready=False) as daemon:
        status = daemon.manager.wait_for("STATUS=")
        assert daemon.wait() == 73
    assert letter * 1000 in status
    assert {"ERRNO=36", "EXIT_STATUS=73"} <= set(daemon.manager.messages)


def test_socket_is_opened_before_the_table_is_full(folder: Path) -> None:
    """A daemon whose spare children use every free descriptor still reports that it is ready."""
    script = 'ulimit -n 64; exec "$@"'
    options = ["--socket", str(folder / "upperd.sock"), "--no-fallback", "--spare-children", "60"]
    with running(folder, command=["sh", "-c", script, "sh", *COMMAND, *options]) as daemon:
        assert daemon.ask(b"x") == b"X"
