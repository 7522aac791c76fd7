"""The program that starts upperd or upperctl closes standard input, output or error."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running import COMMAND, DEADLINE, Daemon, running

CTL = [sys.executable, "-m", "upperd.ctl.main"]


def _closing(*numbers: int) -> "list[str]":
    """The beginning of a command line that closes these descriptors."""
    redirections = " ".join(f"{number}{'>' if number else '<'}&-" for number in numbers)
    return ["/bin/sh", "-c", f'exec "$@" {redirections}', "sh"]


def _send(daemon: Daemon, closed: int, *words: str) -> "subprocess.CompletedProcess[bytes]":
    command = [*_closing(closed), *CTL, "--socket", str(daemon.path), "send", *words]
    return subprocess.run(command, capture_output=True, input=None, timeout=DEADLINE)


def test_send_without_input(daemon: Daemon) -> None:
    """upperctl send with standard input closed says so, but works if it has a text."""
    done = _send(daemon, 0)
    assert done.returncode == 66
    assert b"standard input is closed" in done.stderr
    assert _send(daemon, 0, "text").stdout == b"TEXT\n"


def test_send_without_output(daemon: Daemon) -> None:
    """upperctl with standard output closed fails, and never writes the answer into the connection instead."""
    done = _send(daemon, 1, "text")
    assert done.returncode == 74
    assert b"standard output is closed" in done.stderr


SPEAKING = {
    "upperd --help": (*COMMAND, "--help"),
    "upperd --version": (*COMMAND, "--version"),
    "upperd --check-config": (*COMMAND, "--check-config"),
    "upperctl --help": (*CTL, "--help"),
    "upperctl --version": (*CTL, "--version"),
    "upperctl send --help": (*CTL, "send", "--help"),
    "upperctl version": (*CTL, "version"),
    "upperctl status": (*CTL, "--socket", "SOCKET", "status"),
    "upperctl stats": (*CTL, "--socket", "SOCKET", "stats"),
    "upperctl send": (*CTL, "--socket", "SOCKET", "send", "text"),
    "upperctl ping": (*CTL, "--socket", "SOCKET", "ping", "-c", "1"),
}
"""All commands that print on standard output."""


@pytest.fixture(params=SPEAKING)
def speaking(request: pytest.FixtureRequest, daemon: Daemon) -> "tuple[str, ...]":
    """A command line; the interpreter's output buffer is on, as in most environments."""
    os.environ.pop("PYTHONUNBUFFERED", None)
    return tuple(word.replace("SOCKET", str(daemon.path)) for word in SPEAKING[request.param])


def test_full_output(speaking: "tuple[str, ...]") -> None:
    """Output that cannot be written is an error with exit status 74 and one line, never a traceback."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run(speaking, stdout=full, stderr=subprocess.PIPE, timeout=DEADLINE)
    assert done.returncode == 74
    assert done.stderr.count(b"\n") == 1
    assert b"cannot write to standard output: No space left on device\n" in done.stderr


def test_closed_output(speaking: "tuple[str, ...]") -> None:
    """A closed standard output is such an error, too."""
    done = subprocess.run([*_closing(1), *speaking], stderr=subprocess.PIPE, timeout=DEADLINE)
    assert done.returncode == 74
    assert done.stderr.count(b"\n") == 1
    assert b"is closed\n" in done.stderr


def test_output_without_a_reader(speaking: "tuple[str, ...]") -> None:
    """If the reader has gone the program ends silently as a filter does, by SIGPIPE or with its status."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(speaking, stdout=writing, stderr=subprocess.PIPE, timeout=DEADLINE)
    os.close(writing)
    assert (done.returncode, done.stderr) in ((141, b""), (-signal.SIGPIPE, b""))


@pytest.mark.parametrize("words", [(*COMMAND, "--nonsense"), (*CTL, "--nonsense"), CTL, (*COMMAND, "--help")])
def test_nothing_can_be_said(words: "tuple[str, ...]") -> None:
    """If standard error is full as well, the exit status stays the same."""
    os.environ.pop("PYTHONUNBUFFERED", None)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(words, stdout=full, stderr=full, timeout=DEADLINE)
    assert done.returncode == (74 if "--help" in words else 64)


def test_daemon_without_any(folder: Path) -> None:
    """A daemon started with all three closed has /dev/null there, and nothing of its own."""
    command = [*_closing(0, 1, 2), *COMMAND, "--socket", str(folder / "upperd.sock"), "--no-fallback"]
    with running(folder, command=command) as daemon:
        for pid in (daemon.pid, *daemon.children()):
            assert [os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)] == ["/dev/null"] * 3
        assert daemon.ask(b"x") == b"X"
