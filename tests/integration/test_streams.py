"""Standard input, output or error closed by whoever starts a program."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from running import COMMAND, DEADLINE, Daemon, running

CTL = [sys.executable, "-m", "upperd.ctl.main"]


def _closing(*numbers: int) -> "list[str]":
    """The front of a command line that closes these descriptors."""
    redirections = " ".join(f"{number}{'>' if number else '<'}&-" for number in numbers)
    return ["/bin/sh", "-c", f'exec "$@" {redirections}', "sh"]


def _send(daemon: Daemon, closed: int, *words: str) -> "subprocess.CompletedProcess[bytes]":
    command = [*_closing(closed), *CTL, "--socket", str(daemon.path), "send", *words]
    return subprocess.run(command, capture_output=True, input=None, timeout=DEADLINE)


def test_send_without_input(daemon: Daemon) -> None:
    """upperctl send with standard input closed says so, and needs none where it has a text."""
    done = _send(daemon, 0)
    assert done.returncode == 66
    assert b"standard input is closed" in done.stderr
    assert _send(daemon, 0, "text").stdout == b"TEXT\n"


def test_send_without_output(daemon: Daemon) -> None:
    """upperctl with standard output closed fails, and never takes the connection for it."""
    done = _send(daemon, 1, "text")
    assert done.returncode == 74
    assert b"standard output is closed" in done.stderr


@pytest.mark.parametrize(
    "command", ["status", "stats", "send x", "send", "ping -c 1", "--help", "send --help", "--version"]
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_full_output(daemon: Daemon, command: str, unbuffered: str) -> None:
    """What cannot be written is an error with exit status 74, never a traceback."""
    with open("/dev/full", "wb") as full:
        argv = [*CTL, "--socket", str(daemon.path), *command.split()]
        environ = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, input=b"x", timeout=DEADLINE, env=environ)
    assert done.returncode == 74
    assert b"Traceback" not in done.stderr


def test_daemon_without_any(folder: Path) -> None:
    """A daemon that was started with all three closed has /dev/null there, and nothing of its own."""
    command = [*_closing(0, 1, 2), *COMMAND, "--socket", str(folder / "upperd.sock"), "--no-fallback"]
    with running(folder, command=command) as daemon:
        for pid in (daemon.pid, *daemon.children()):
            assert [os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)] == ["/dev/null"] * 3
        assert daemon.ask(b"x") == b"X"
