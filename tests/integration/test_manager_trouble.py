"""The service manager, slow, gone or strict: it is told the truth, and never waited for."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from running import COMMAND, DEADLINE, Daemon, running, wait_until


def _messages(daemon: Daemon, seconds: float) -> list[tuple[float, str]]:
    """What the manager gets in the next seconds, and when."""
    end, messages = time.monotonic() + seconds, []
    while (left := end - time.monotonic()) > 0:
        daemon.manager.socket.settimeout(left)
        with contextlib.suppress(TimeoutError):
            messages.append((time.monotonic(), daemon.manager.socket.recv(65536).decode("utf-8")))
    return messages


def test_watchdog_stops_with_the_parent(folder: Path) -> None:
    """A parent that does not run sends no WATCHDOG=1, whatever its children do; when it runs again it does."""
    with running(folder, environ={"WATCHDOG_USEC": "200000"}) as daemon:
        daemon.manager.wait_for("WATCHDOG=1")
        daemon.signal(signal.SIGSTOP)
        assert daemon.ask(b"served by a spare") == b"SERVED BY A SPARE"
        stat = Path(f"/proc/{daemon.pid}/stat")
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T", "it is stopped")
        _messages(daemon, 0.1)  # sent before it was stopped
        assert _messages(daemon, 1.0) == []
        daemon.signal(signal.SIGCONT)
        daemon.manager.wait_for("WATCHDOG=1")


def test_watchdog_of_another_process_is_not_fed(folder: Path) -> None:
    """With WATCHDOG_PID of another process nothing is sent: it is not ours to feed."""
    with running(folder, environ={"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}) as daemon:
        assert [text for _, text in _messages(daemon, 1.0) if "WATCHDOG" in text] == []


def test_status_is_sent_at_most_once_a_second(folder: Path) -> None:
    """Under a flood of connections STATUS changes at most once a second, each time one line of UTF-8."""
    with running(folder, "--spare-children", "8") as daemon:
        end, asked = time.monotonic() + 3.0, 0
        while time.monotonic() < end:
            assert daemon.ask(b"x") == b"X"
            asked += 1
        statuses = [(when, text) for when, text in _messages(daemon, 0.1) if text.startswith("STATUS=")]
    assert asked > 50
    assert 1 <= len(statuses) <= 5
    assert all("\n" not in text and text.isprintable() for _, text in statuses)


def test_idle_daemon_says_nothing(daemon: Daemon) -> None:
    """While nothing changes no STATUS is sent, and the daemon does not even wake."""
    assert daemon.ask(b"x") == b"X"
    daemon.manager.wait_for("STATUS=0 busy, 4 spare")
    before = _switches(daemon.pid)
    assert _messages(daemon, 1.5) == []
    assert _switches(daemon.pid) - before <= 2


def _switches(pid: int) -> int:
    """How often a process went to sleep, having run (proc(5), status)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("voluntary_ctxt_switches")).split()[1])


def test_no_manager_is_needed(folder: Path) -> None:
    """Without NOTIFY_SOCKET the daemon serves as well."""
    path = folder / "upperd.sock"
    environ = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    command = [*COMMAND, "--socket", str(path), "--no-fallback"]
    with subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) as process:
        try:
            assert wait_until(lambda: _answer(path), "it serves") == b"X"
        finally:
            process.terminate()
        assert process.wait(DEADLINE) == 0


def _answer(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(DEADLINE)
        try:
            client.connect(str(path))
        except OSError:
            return b""
        client.sendall(b"x")
        return client.recv(1)


def test_manager_that_never_reads(folder: Path) -> None:
    """With the manager's socket full the loop turns as ever: clients are served, crashes seen, SIGTERM obeyed."""
    with running(folder, environ={"WATCHDOG_USEC": "1000"}) as daemon:
        wait_until(lambda: _is_full(daemon), "the manager's socket is full")
        assert [daemon.ask(b"x") for _ in range(50)] == [b"X"] * 50
        os.kill(daemon.children()[0], signal.SIGKILL)
        wait_until(lambda: daemon.board.header["crashed"] == 1, "the crash is seen")
        assert daemon.stop() == 0


def _is_full(daemon: Daemon) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        try:
            sender.sendto(b"X_TEST=1", str(daemon.manager.path))
        except BlockingIOError:
            return True
    return False


def test_manager_that_comes_back(folder: Path) -> None:
    """When the manager makes its socket anew at the same path, the daemon finds it again by itself."""
    with running(folder, environ={"WATCHDOG_USEC": "100000"}) as daemon:
        daemon.manager.socket.close()
        daemon.manager.path.unlink()
        assert daemon.ask(b"x") == b"X"
        daemon.manager.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        daemon.manager.socket.bind(str(daemon.manager.path))
        daemon.manager.wait_for("WATCHDOG=1")
        assert daemon.stop() == 0
        daemon.manager.wait_for("STOPPING=1")
