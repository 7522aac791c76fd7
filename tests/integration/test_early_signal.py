"""A signal may arrive at any moment of the daemon's life, the first included."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest
from running import running, wait_until

# The outward sign of each step of the start.
STEPS = {
    "the process runs": lambda folder: True,
    "the path is bound": lambda folder: (folder / "upperd.sock").exists(),
    "the scoreboard is made": lambda folder: (folder / "scoreboard").exists(),
}


@pytest.mark.parametrize("step", STEPS)
def test_sigterm_while_starting(folder: Path, step: str) -> None:
    """SIGTERM during the start ends the daemon in order or by the signal: no traceback, and no process is left."""
    for _ in range(8):
        for name in ("upperd.sock", "scoreboard", "log"):
            (folder / name).unlink(missing_ok=True)
        with running(folder, ready=False) as daemon:
            _spin_until(lambda: STEPS[step](folder))
            daemon.signal(signal.SIGTERM)
            assert daemon.wait() in (0, -signal.SIGTERM)
            assert "Traceback" not in daemon.log, daemon.log


def _spin_until(seen: object) -> None:
    """Wait until `seen` is true, without the pauses of `wait_until`, since the steps are short."""
    assert callable(seen)
    if not seen():
        while not seen():
            os.sched_yield()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE, signal.SIGALRM])
def test_any_signal_to_a_child(folder: Path, number: signal.Signals) -> None:
    """Whatever signal the children get, the parent survives, and every later client is served, the next one too."""
    with running(folder) as daemon:
        _signal(set(daemon.children()), number)
        assert [daemon.ask(b"x") for _ in range(10)] == [b"X"] * 10
        assert daemon.process.poll() is None
        assert daemon.stop() == 0


def _signal(pids: set[int], number: signal.Signals) -> None:
    """Send these processes the signal."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def test_many_sigterms(folder: Path) -> None:
    """Repeated SIGTERM does no harm: the daemon ends with status 0, and all of its children too."""
    with running(folder) as daemon, daemon.held() as client:
        children = daemon.children()
        for _ in range(50):
            daemon.signal(signal.SIGTERM)
        assert client.recv(1) == b""
        assert daemon.wait() == 0
        wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "all children end")


def test_terminal_interrupts_the_whole_group(folder: Path) -> None:
    """Ctrl-C reaches every process of the group, and a transfer under way is still finished."""
    with running(folder, process_group=0) as daemon, daemon.connect() as client:
        client.sendall(b"a\xc3")
        assert client.recv(1) == b"A"
        os.killpg(daemon.pid, signal.SIGINT)
        _signal(set(daemon.children()), signal.SIGINT)
        daemon.manager.wait_for("STOPPING=1")
        client.sendall(b"\xa9")
        assert client.recv(8) == "É".encode()
        client.close()
        assert daemon.wait() == 0
    assert "cut=0 killed=0" in daemon.log.splitlines()[-1]
