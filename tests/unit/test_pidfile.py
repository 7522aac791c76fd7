"""The pid file: complete or missing, never written through a link, and never another daemon's."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from running import wait_until

from upperd.base import locks
from upperd.service.pidfile import PidFile, PidFileError

OURS = f"{os.getpid()}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the pid file."""
    return tmp_path / "upperd.pid"


def test_life(path: Path) -> None:
    """The file holds the pid and a newline, with mode 0644 under any umask; at the end nothing is left of it."""
    mask = os.umask(0o777)
    try:
        subject = PidFile(str(path))
        subject.write()
    finally:
        os.umask(mask)
    assert (path.read_text(), path.stat().st_mode & 0o7777) == (OURS, 0o644)
    assert list(path.parent.iterdir()) == [path]
    subject.remove()
    assert list(path.parent.iterdir()) == []


def test_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a path nothing is written or removed."""
    monkeypatch.chdir(tmp_path)
    subject = PidFile("")
    subject.write()
    subject.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("before", ["", "1\n", "4194304", " 7 \n"])
def test_stale_one_is_replaced(path: Path, before: str) -> None:
    """A file that holds a pid, or nothing, is replaced; a reader that has it open still reads the old content."""
    path.write_text(before)
    with path.open() as reader:
        PidFile(str(path)).write()
        assert reader.read() == before
    assert path.read_text() == OURS


@pytest.mark.parametrize("target", ["precious", "missing", "."])
def test_link_is_replaced(path: Path, target: str) -> None:
    """A link to anything is replaced, not followed."""
    (path.parent / "precious").write_text("1\n")
    path.symlink_to(target)
    PidFile(str(path)).write()
    assert (path.is_symlink(), path.read_text()) == (False, OURS)
    assert (path.parent / "precious").read_text() == "1\n"
    assert not (path.parent / "missing").exists()


def test_what_a_killed_process_has_left(path: Path) -> None:
    """A temporary file left by a killed process with our pid, or a link in its place, blocks no later write."""
    left = path.parent / f".{path.name}.{os.getpid()}"
    left.symlink_to("precious")
    PidFile(str(path)).write()
    assert {found.name for found in path.parent.iterdir()} == {path.name, left.name}


def test_removed_one_is_written_again(path: Path) -> None:
    """A pid file removed under a living daemon is written again; one that another daemon has put there stays."""
    subject = PidFile(str(path))
    subject.write()
    path.unlink()
    subject.keep()
    assert path.read_text() == OURS
    path.unlink()
    path.write_text("1\n")
    subject.keep()
    assert path.read_text() == "1\n"


def test_lock_tells_whose_it_is(path: Path, hold_elsewhere: Callable[[str], int]) -> None:
    """The pid in a file that a process has locked is a living daemon's; without the lock it may be any process's."""
    path.write_text(f"{os.getppid()}\n")
    holder = hold_elsewhere(str(path))
    with pytest.raises(PidFileError, match="holds the pid of a running daemon"):
        PidFile(str(path)).write()
    os.kill(holder, signal.SIGKILL)
    wait_until(lambda: not locks.holder(str(path)), "the lock ends")
    PidFile(str(path)).write()
    assert path.read_text() == OURS


@pytest.mark.parametrize("kind", ["text", "folder", "fifo"])
def test_anything_else_is_refused(path: Path, kind: str) -> None:
    """A file without a pid is left alone, and named; nothing waits for it, and nothing is left beside it."""
    {"text": lambda: path.write_text("12 monkeys"), "folder": path.mkdir, "fifo": lambda: os.mkfifo(path)}[kind]()
    with pytest.raises(PidFileError, match="upperd.pid exists and is not a pid file: remove it, or choose another"):
        PidFile(str(path)).write()
    assert list(path.parent.iterdir()) == [path]


def test_folder_is_missing(tmp_path: Path) -> None:
    """Without its folder the error names the file and the reason, and has the errno."""
    with pytest.raises(PidFileError, match="cannot write the pid file .*/x/p: No such file") as raised:
        PidFile(str(tmp_path / "x/p")).write()
    assert raised.value.errno == 2


@pytest.mark.parametrize("after", ["1\n", "", "link", "gone"])
def test_not_ours_any_more(path: Path, after: str) -> None:
    """At the end a file with another pid, or none, and a link are left alone; a missing file is no error."""
    subject = PidFile(str(path))
    subject.write()
    path.unlink()
    if after == "link":
        (path.parent / "other").write_text(OURS)
        path.symlink_to("other")
    elif after != "gone":
        path.write_text(after)
    subject.remove()
    assert (path.exists() or path.is_symlink()) == (after != "gone")
