"""The socket of the service manager is missing, dead, or never read."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from account import once, unaffected
from running import running, wait_until


@pytest.mark.parametrize("trouble", ["missing", "dead", "full"])
def test_notify_socket_in_trouble(folder: Path, trouble: str) -> None:
    """A manager that does not listen, or stops listening, neither stops nor slows the daemon; the log says so once."""
    path = folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        if trouble != "missing":
            manager.bind(str(path))
        if trouble == "dead":
            manager.close()
        environ = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "20000"}
        with running(folder, environ=environ, ready=False) as daemon:
            wait_until(lambda: " ready: " in daemon.log, "it is ready")
            with unaffected(daemon) as account:
                account.wait_for_progress(50)
            wait_until(lambda: " notify: " in daemon.log, "the log says so")
            assert daemon.stop() == 0
    once(daemon.log, " notify: .*trying again until it does$")


def test_manager_comes_back(folder: Path) -> None:
    """A manager that recreates its socket hears from the daemon again."""
    with running(folder, environ={"WATCHDOG_USEC": "20000"}) as daemon, unaffected(daemon):
        daemon.manager.socket.close()
        daemon.manager.path.unlink()
        wait_until(lambda: " notify: " in daemon.log, "the log says so")
        daemon.manager.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        daemon.manager.socket.bind(str(daemon.manager.path))
        daemon.manager.wait_for("WATCHDOG=1")
        daemon.manager.wait_for("STATUS=")
        once(daemon.log, " notify: ")  # before its queue is full, since nothing reads it any more
