"""--ready-fd: the readiness notification of s6, without s6 (test_s6.py has the real one)."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from running import COMMAND, DEADLINE, Daemon, activated, run_to_end, running, wait_until

_PLACE = """
import os, sys
os.dup2(int(sys.argv[1]), 7)
if sys.argv[1] != "7":
    os.close(int(sys.argv[1]))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Does what a supervisor does: gives the descriptor the number that the daemon is told."""


def supervised(pipe_end: FileIO, *options: str) -> dict[str, Any]:
    """Arguments of `running`: this end of the pipe gets number 7 there."""
    descriptor = pipe_end.fileno()
    command = [COMMAND[0], "-c", _PLACE, str(descriptor), *COMMAND, "--no-fallback", "--ready-fd", "7", *options]
    return {"command": command, "pass_fds": [descriptor]}


@pytest.fixture
def pipe() -> Iterator[tuple[FileIO, FileIO]]:
    """The two ends of the pipe, without buffers."""
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as reader, open(writing, "wb", buffering=0) as writer:
        yield reader, writer


def read(reader: FileIO) -> bytes:
    """Read what comes next, with a time limit."""
    assert select.select([reader], [], [], DEADLINE)[0]
    return reader.read(10)


def held_by(pid: int, pipe_end: FileIO) -> bool:
    """Whether the process has the pipe open."""
    wanted = os.readlink(f"/proc/self/fd/{pipe_end.fileno()}")
    with contextlib.suppress(OSError):  # the process has ended
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):  # the process has closed that descriptor
                if os.readlink(f"/proc/{pid}/fd/{name}") == wanted:
                    return True
    return False


def test_newline_when_ready(folder: Path, pipe: tuple[FileIO, FileIO]) -> None:
    """Once the daemon serves, one newline comes, then the end of file; READY=1 comes, too."""
    reading, writing = pipe
    with running(folder, **supervised(writing, "--socket", str(folder / "upperd.sock")), ready=False) as daemon:
        writing.close()
        assert read(reading) == b"\n"
        assert daemon.ask(b"x") == b"X"
        assert read(reading) == b""
        assert not any(held_by(pid, reading) for pid in (daemon.pid, *daemon.children()))
        daemon.manager.wait_for("READY=1")


def test_children_never_have_it(folder: Path, pipe: tuple[FileIO, FileIO]) -> None:
    """The first children, forked before the newline is written, close the descriptor with all others."""
    writing = pipe[1]
    os.set_blocking(writing.fileno(), False)
    while writing.write(b"x" * 4096):
        pass
    with running(folder, **supervised(writing, "--socket", str(folder / "upperd.sock"))) as daemon:
        assert daemon.ask(b"x") == b"X"
        wait_until(lambda: not any(held_by(pid, writing) for pid in daemon.children()), "they have closed it")
        text = "notify: cannot write to descriptor 7 (--ready-fd): it is full, ignoring"
        wait_until(lambda: text in daemon.log, "the warning")
        assert daemon.stop() == 0


def test_nobody_reads(folder: Path, pipe: tuple[FileIO, FileIO]) -> None:
    """A supervisor that is gone causes a warning, and the daemon serves."""
    reading, writing = pipe
    reading.close()
    with running(folder, **supervised(writing, "--socket", str(folder / "upperd.sock"))) as daemon:
        assert daemon.ask(b"x") == b"X"
        wait_until(lambda: "(--ready-fd): Broken pipe, ignoring" in daemon.log, "the warning")


def test_no_newline_without_service(folder: Path, pipe: tuple[FileIO, FileIO], daemon: Daemon) -> None:
    """A daemon that cannot start writes nothing to the descriptor, which closes with the process."""
    reading, writing = pipe
    more = supervised(writing, "--socket", str(daemon.path))
    other = folder / "other"
    other.mkdir()
    with running(other, **more, ready=False) as failing:
        writing.close()
        assert read(reading) == b""
        assert failing.wait() == 75


@pytest.mark.parametrize("number", ["0", "1", "2", "-1", "x"])
def test_no_descriptor_to_use(folder: Path, number: str) -> None:
    """Standard input, output and error, and invalid numbers, are refused with status 64."""
    status, said = run_to_end(folder, f"--ready-fd={number}", "--socket", "s")
    assert (status, "ready-fd" in said) == (64, True)
    if number.isdigit():
        assert f"ready-fd is {number}: it must be a whole number from 3 to" in said


def test_it_is_not_open(folder: Path) -> None:
    """A start names a descriptor that is not open, and how to open it; --check-config does not look for it."""
    status, said = run_to_end(folder, "--ready-fd", "77", "--socket", "s")
    assert status == 64
    assert "ready-fd is 77: it is not open: the supervisor must open it (s6: write 77 to the file " in said
    assert run_to_end(folder, "--ready-fd", "77", "--check-config")[0] == 0


def test_it_cannot_be_written_to(folder: Path, pipe: tuple[FileIO, FileIO]) -> None:
    """A read-only descriptor is refused."""
    with running(folder, **supervised(pipe[0], "--socket", str(folder / "s")), ready=False) as daemon:
        assert daemon.wait() == 64
        assert "ready-fd is 7: it is open, but not for writing" in daemon.log


def test_it_is_a_listener(folder: Path) -> None:
    """A socket passed by the service manager cannot be the readiness descriptor."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        listener.listen()
        with running(folder, **activated(folder, [listener], "--ready-fd", "3"), ready=False) as daemon:
            assert daemon.wait() == 64
            assert "ready-fd is 3: the service manager passed a socket there: choose another" in daemon.log


def test_not_in_the_background(folder: Path) -> None:
    """--daemonize and --ready-fd exclude each other."""
    manager = {"NOTIFY_SOCKET": "", "LISTEN_FDS": "", "INVOCATION_ID": ""}
    status, said = run_to_end(folder, "--daemonize", "--ready-fd", "3", "--socket", "s", **manager)
    assert (status, "leave out --daemonize" in said) == (64, True)


def test_reload_does_not_look_for_it(folder: Path, pipe: tuple[FileIO, FileIO]) -> None:
    """A reload after the notification succeeds: the descriptor is closed, and not needed again."""
    reading, writing = pipe
    with running(folder, **supervised(writing, "--socket", str(folder / "upperd.sock"))) as daemon:
        writing.close()
        assert read(reading) == b"\n"
        daemon.signal(signal.SIGHUP)
        daemon.manager.wait_for("READY=1", DEADLINE)
        assert "reload: nothing has changed" in daemon.log
