"""`upperd --pid-file FILE`: which file is written, replaced, removed and left alone."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hosts import Host
from running import running


def test_stale_pid_file(host: Host) -> None:
    """A pid file left after SIGKILL does not keep the next daemon from starting, or from writing its own."""
    assert host.start().returncode == 0
    first = host.pid
    host.end(signal.SIGKILL)
    assert (host.pid, host.path.exists()) == (first, True)
    assert host.start().returncode == 0
    assert (host.pid != first, host.ask(b"x")) == (True, b"X")


def test_pid_file_of_another_daemon(host: Host) -> None:
    """A daemon on another path does not take a live daemon's pid file, without which that one could not be stopped."""
    assert host.start().returncode == 0
    first = host.pid
    done = host.start("--socket", str(host.folder / "other.sock"))
    assert done.returncode == 73
    assert f"the pid of a running daemon ({first})" in done.stderr
    assert host.pid == first


def test_link_as_pid_file_is_not_followed(host: Host) -> None:
    """A planted link is replaced, and its target stays as it was."""
    (host.folder / "precious").write_text("1\n")
    host.pid_file.symlink_to(host.folder / "precious")
    assert host.start().returncode == 0
    assert (host.pid_file.is_symlink(), (host.folder / "precious").read_text()) == (False, "1\n")
    host.end()
    assert (host.folder / "precious").exists()


def test_no_other_file_is_overwritten(host: Host) -> None:
    """A file without a pid is left alone: the start fails with 73 and names it."""
    host.pid_file.write_text("root:x:0:0\n")
    done = host.start()
    assert (done.returncode, "exists and is not a pid file" in done.stderr) == (73, True)
    assert host.pid_file.read_text() == "root:x:0:0\n"
    assert not host.path.exists()


@pytest.mark.parametrize("left", ["ours", "another's"])
def test_pid_file_in_the_foreground(folder: Path, left: str) -> None:
    """Without --daemonize the file is written, too; at the end it is removed only if it still contains that pid."""
    pid_file = folder / "p"
    with running(folder, "--pid-file", str(pid_file)) as daemon:
        assert pid_file.read_text() == f"{daemon.pid}\n"
        assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
        if left == "another's":
            pid_file.write_text("1\n")
        assert daemon.stop() == 0
    assert pid_file.exists() == (left == "another's")
