"""Unusual machines: each has its exit status and its message, and never causes a traceback."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import COMMAND, DEADLINE, Daemon, running

CTL = [sys.executable, "-m", "upperd.ctl.main"]
SERVES = {
    "no /dev/null": "mount -t tmpfs none /dev",
    "/dev/null is a file": "mount --bind $0/file /dev/null",
    "no /dev/shm": "mount -t tmpfs none /dev",
    "no home": "unset HOME",
    "the C locale": "export LC_ALL=C PYTHONCOERCECLOCALE=0 PYTHONUTF8=0",
    "umask 0777": "umask 0777",
    "a working folder that is gone": "mkdir $0/gone; cd $0/gone; rmdir $0/gone",
    "a working folder that is read-only": "mount -t tmpfs -o ro none /mnt; cd /mnt",
    "nothing in /etc": "mount -t tmpfs none /etc",
    "nothing in /run": "mount -t tmpfs -o ro none /run",
    "input closed": "exec <&-",
    "error closed": "exec 2>&-",
    "all closed, and no /dev/null": "mount -t tmpfs none /dev; exec <&- >&- 2>&-",
    "all closed, and /dev/null is a file": "mount --bind $0/file /dev/null; exec <&- >&- 2>&-",
    "no room for the scoreboard": "mount -t tmpfs -o size=8k none $0/run",
}
"""Situations in which a daemon serves: shell code, run in a mount namespace. $0 is the folder of the test."""
FAILS = {
    "no /proc": ("umount -l /proc", 73, "/proc is not mounted: mount it, or have a socket unit"),
    "a read-only folder": ("mount -t tmpfs -o ro none $0/run", 73, "Read-only file system"),
    "a full folder": ("mount -t tmpfs -o nr_inodes=2 none $0/run", 73, "No space left on device"),
    "a folder that is missing": ("rmdir $0/run", 73, "make the folder"),
    "a folder that is a file": ("rmdir $0/run; touch $0/run", 73, "Not a directory"),
    **{
        f"{count} descriptors": (f"ulimit -n {count}", 73, f"only {count} descriptors may be open, 64 are needed")
        for count in range(6, 17)
    },
}
"""Situations in which no daemon can run: the exit status, and a part of the one line printed."""


@pytest.fixture
def place(folder: Path, as_root: None) -> Path:
    (folder / "file").write_bytes(b"")
    (folder / "run").mkdir()
    return folder


def _in(situation: str, place: Path, *words: str) -> list[str]:
    return ["unshare", "--mount", "sh", "-c", f'{situation}\nexec "$@"', str(place), *words]


def _serve(place: Path, *options: str) -> list[str]:
    return [*COMMAND, "--socket", f"{place}/run/upperd.sock", "--no-fallback", *options]


@pytest.mark.parametrize("situation", SERVES)
def test_serves_all_the_same(place: Path, situation: str) -> None:
    """The daemon serves on such a machine, and no standard stream of it is also a socket or a lock."""
    reading, writing = os.pipe()
    command = _in(SERVES[situation], place, *_serve(place, "--ready-fd", str(writing)))
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, pass_fds=[writing])
    os.close(writing)
    with open(reading, "rb", buffering=0) as ready:
        assert ready.read(1) == b"\n", process.communicate(timeout=DEADLINE)[1]
    root = f"/proc/{process.pid}/root"  # in its mount namespace
    done = subprocess.run(
        [*CTL, "--socket", f"{root}{place}/run/upperd.sock", "send", "text"], capture_output=True, timeout=DEADLINE
    )
    assert (done.stdout, done.stderr) == (b"TEXT\n", b"")
    streams = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)]
    assert not [stream for stream in streams if re.match(r"socket:|anon_inode:|.*\.lock$", stream)]
    process.terminate()
    _, log = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert b"Traceback" not in log
    assert b"Errno" not in log
    assert (place / "file").read_bytes() == b""


@pytest.mark.parametrize("situation", FAILS)
def test_says_why_there_is_no_daemon(place: Path, situation: str) -> None:
    """If no daemon can run, one line names the cause, and the exit status tells its kind."""
    made, status, reason = FAILS[situation]
    command = _in(made, place, *_serve(place))
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=DEADLINE)
    assert done.returncode == status, done.stderr
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert "Errno" not in done.stderr


ASKING = {
    "--check-config": [*COMMAND, "--check-config"],
    "send": [*CTL, "--socket", "SOCKET", "send", "text"],
    "status": [*CTL, "--socket", "SOCKET", "status"],
    "stats": [*CTL, "--socket", "SOCKET", "stats"],
    "ping": [*CTL, "--socket", "SOCKET", "ping", "-c", "1", "-q"],
    "top": [*CTL, "--socket", "SOCKET", "top", "--once"],
    "version": [*CTL, "version"],
}
MACHINES = {
    name: made
    for name, made in {
        **SERVES,
        "no /proc": "umount -l /proc",
        "6 descriptors": "ulimit -n 6",
        "8 descriptors": "ulimit -n 8",
        "16 descriptors": "ulimit -n 16",
    }.items()
    if "closed" not in name and "scoreboard" not in name
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all the programs that only ask."""
    with running(tmp_path_factory.mktemp("d")) as daemon:
        yield daemon


@pytest.mark.parametrize("machine", MACHINES)
def test_programs_that_ask(place: Path, served: Daemon, machine: str) -> None:
    """Each program that only asks has the same exit status as on any other machine, and complains of nothing."""
    for name, words in ASKING.items():
        command = _in(MACHINES[machine], place, *(word.replace("SOCKET", str(served.path)) for word in words))
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE)
        assert (name, done.returncode, done.stderr) == (name, 0, "")
