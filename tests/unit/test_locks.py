"""The lock that shows that a daemon lives."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from upperd.base import locks
from upperd.base.locks import LockedError

Hold = Callable[[str], int]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A path for a lock."""
    return str(tmp_path / "x.lock")


def holder_seen_elsewhere(path: str) -> int:
    """The pid that holds the lock, as another process sees it: a process does not see its own locks."""
    code = "import sys; from upperd.base import locks; print(locks.holder(sys.argv[1]))"
    return int(subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=True).stdout)


def test_taken(path: str) -> None:
    """The process that takes the lock is its holder until the descriptor is closed."""
    descriptor = locks.take(path)
    assert holder_seen_elsewhere(path) == os.getpid()
    os.close(descriptor)
    assert holder_seen_elsewhere(path) == 0


@pytest.mark.parametrize("umask", [0, 0o077])
def test_mode(path: str, umask: int) -> None:
    """Only its owner may use the file, and no program that the daemon starts inherits the descriptor."""
    before = os.umask(umask)
    try:
        descriptor = locks.take(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


def test_locked(path: str, hold_elsewhere: Hold) -> None:
    """A lock that another process holds cannot be taken; the error has its pid, and no descriptor is left open."""
    pid = hold_elsewhere(path)
    assert locks.holder(path) == pid
    before = os.listdir("/proc/self/fd")
    with pytest.raises(LockedError, match=f"locked by process {pid}") as raised:
        locks.take(path)
    assert (raised.value.pid, raised.value.path) == (pid, path)
    assert os.listdir("/proc/self/fd") == before


def test_left_file(path: str) -> None:
    """A file that a killed daemon left behind is taken over."""
    Path(path).touch(0o600)
    assert locks.holder(path) == 0
    os.close(locks.take(path))


def test_not_inherited(path: str) -> None:
    """A forked child does not hold its parent's lock, although it has the descriptor."""
    descriptor = locks.take(path)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(descriptor)
    assert holder_seen_elsewhere(path) == 0
    os.close(writing)
    os.close(reading)
    os.waitpid(pid, 0)


def test_missing(path: str) -> None:
    """A lock that was never taken is a missing file."""
    with pytest.raises(FileNotFoundError):
        locks.holder(path)


def test_symlink(path: str, tmp_path: Path) -> None:
    """A symbolic link in place of the lock is not followed, neither to take it nor to look."""
    target = tmp_path / "target"
    os.symlink(target, path)
    with pytest.raises(OSError, match="symbolic"):
        locks.take(path)
    assert not target.exists()
    target.touch()
    with pytest.raises(OSError, match="symbolic"):
        locks.holder(path)


def test_no_folder(tmp_path: Path) -> None:
    """A lock in a folder that does not exist is an OSError."""
    with pytest.raises(FileNotFoundError):
        locks.take(str(tmp_path / "none" / "x.lock"))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_not_a_file(path: str, make: Callable[[str], None]) -> None:
    """A FIFO or a folder in place of the lock is refused, without blocking, with its name and the cure."""
    make(path)
    with pytest.raises(OSError, match=f"{path} is not a file: remove it"):
        locks.take(path)
    assert stat.S_ISREG(os.lstat(path).st_mode) is False


def test_link_to_the_file(path: str, tmp_path: Path) -> None:
    """A file with a second name (hard link) may belong to any program, and is refused."""
    (tmp_path / "precious").touch()
    os.link(tmp_path / "precious", path)
    with pytest.raises(OSError, match="is not owned by uid .*, or has two links: remove it"):
        locks.take(path)
