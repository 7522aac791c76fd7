"""The resource usage of processes, and the replacement of files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import psutil
import pytest

from upperd.base import atomic
from upperd.ctl import usage
from upperd.server.scoreboard import Scoreboard
from upperd.server.snapshot import read


def test_a_process() -> None:
    """Memory and processor time of a process are the kernel's figures."""
    found = usage.of_process(os.getpid(), os.getppid())
    assert found is not None
    assert 1_000_000 < found.rss_bytes < 10**12
    assert found.pss_bytes is not None
    assert 0 < found.memory_bytes == found.pss_bytes <= found.rss_bytes * 1.5
    assert 0 < found.cpu_usec <= sum(os.times()[:2]) * 1e6 + 1


@pytest.mark.parametrize("pid", [0, 2**22, 2**31, 2**63, 2**64 - 1])
def test_nobody(pid: int) -> None:
    """Usage of a process that does not exist is unknown, whatever number a broken scoreboard has."""
    assert usage.of_process(pid) is None


def test_another_process() -> None:
    """A process that is not the daemon's child, though it has a child's pid, is left out."""
    assert usage.of_process(os.getpid(), os.getpid()) is None


def test_no_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the kernel does not tell the shared part, the resident memory is used."""

    def deny(self: psutil.Process) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "memory_full_info", deny)
    monkeypatch.setattr(psutil.Process, "memory_footprint", deny, raising=False)
    found = usage.of_process(os.getpid())
    assert found is not None
    assert (found.pss_bytes, found.memory_bytes) == (None, found.rss_bytes)


def test_of_a_daemon(tmp_path: Path) -> None:
    """If a daemon is gone its usage is unknown, and so is that of the processes that now have its children's pids."""
    path = str(tmp_path / "scoreboard")
    board = Scoreboard(path)
    slot, _, _ = board.claim()
    board.born(slot, os.getppid())
    assert set(usage.of_daemon(read(path))) == {os.getpid()}
    board["pid"] = 2**22
    assert usage.of_daemon(read(path)) == {}


def test_a_file_is_replaced(tmp_path: Path) -> None:
    """A file is replaced by another one of mode 0644, whatever the umask; readers of the old one read on."""
    path = tmp_path / "x.prom"
    path.write_text("old")
    before = os.umask(0o077)
    with open(path) as reader:
        atomic.replace(str(path), b"new")
        assert reader.read() == "old"
    os.umask(before)
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new", 0o644)
    assert os.listdir(tmp_path) == ["x.prom"]


def test_a_file_that_cannot_be_replaced(tmp_path: Path) -> None:
    """If the file cannot be replaced, nothing is left behind."""
    (tmp_path / "x").mkdir()
    with pytest.raises(OSError, match="directory"):
        atomic.replace(str(tmp_path / "x"), b"new")
    assert os.listdir(tmp_path) == ["x"]
