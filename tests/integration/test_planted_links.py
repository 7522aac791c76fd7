"""Links and files planted by another user at the daemon's paths are neither followed, written nor removed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from acting import USER, need_root, said, start_as
from running import COMMAND, DEADLINE, run_to_end, running
from tools import need

TEXT = "precious\n"


@pytest.fixture
def shared(folder: Path) -> Iterator[Path]:
    """A folder in which all users may write and rename, as in a /tmp without its sticky bit."""
    need_root()
    os.chmod(folder, 0o755)
    (folder / "shared").mkdir()
    os.chmod(folder / "shared", 0o777)
    yield folder / "shared"


@pytest.fixture
def precious(folder: Path) -> Iterator[Path]:
    """A file of root's that the daemon must not touch: neither its content, nor its mode, nor its names."""
    path = folder / "precious"
    path.write_text(TEXT)
    os.chmod(path, 0o600)
    before = path.stat()
    yield path
    after = path.stat()
    assert path.read_text() == TEXT
    assert (after.st_mode, after.st_ino, after.st_mtime_ns) == (before.st_mode, before.st_ino, before.st_mtime_ns)


def _options(shared: Path) -> list[str]:
    return ["--socket", f"{shared}/s", "--scoreboard", f"{shared}/board", "--pid-file", f"{shared}/pid"]


def _start_and_stop(folder: Path, shared: Path) -> str:
    """Start a daemon and, if it starts, stop it; return its log."""
    (folder / "log").unlink(missing_ok=True)
    with running(folder, command=[*COMMAND, "--no-fallback", *_options(shared)], ready=False) as daemon:

        def has_ended() -> bool:
            return daemon.process.poll() is not None

        try:
            daemon.manager.wait_for("READY=1", is_over=has_ended)
            daemon.signal(signal.SIGTERM)
        except AssertionError:
            assert has_ended()
        assert daemon.wait() in (0, 73), daemon.log
        return daemon.log


PLANTS: dict[str, Callable[[Path, Path], None]] = {
    "link": lambda path, target: path.symlink_to(target),
    "hard link": lambda path, target: path.hardlink_to(target),
    "dangling link": lambda path, target: path.symlink_to(target.with_name("nowhere")),
    "fifo": lambda path, target: os.mkfifo(path, 0o666),
    "folder": lambda path, target: path.mkdir(),
}


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("name", ["s", "s.lock", "board", "board.lock", "pid"])
def test_planted(folder: Path, shared: Path, precious: Path, name: str, plant: str) -> None:
    """A link, a FIFO or a folder at one of the daemon's paths is replaced or named in the log, and never followed."""
    path = shared / name
    PLANTS[plant](path, precious)
    if plant != "hard link":
        os.chown(path, USER, USER, follow_symlinks=False)
    log = _start_and_stop(folder, shared)
    assert not (folder / "nowhere").exists()
    assert "Traceback" not in log
    is_replaced = name in ("board", "pid") and "link" in plant and plant != "hard link"
    if is_replaced:
        assert not path.is_symlink()
    else:
        assert str(path) in log


SWAPPER = """
import os, sys
folder, target, *names = sys.argv[1:]
os.chdir(folder)
for name in names:
    os.symlink(target, f".{name}")
print(flush=True)
while os.getppid() != 1:
    for name in names:
        try:
            os.lstat(name)
            os.rename(f".{name}", name)  # in the place of what the daemon has made a moment ago
        except OSError:
            continue
        for _ in range(1000):  # some hundred microseconds
            os.lstat(name)
        os.unlink(name)
        os.symlink(target, f".{name}")
"""


@pytest.mark.parametrize("names", [["s"], ["s.lock", "board", "board.lock", "pid"]], ids=["socket", "files"])
def test_race(folder: Path, shared: Path, precious: Path, names: list[str]) -> None:
    """While another user swaps links in and out, each start ends well or says why, and nothing outside is touched."""
    with start_as(USER, SWAPPER, str(shared), str(precious), *names) as swapper:
        try:
            assert said(swapper) == ""
            for _ in range(8):
                assert "Traceback" not in _start_and_stop(folder, shared)
        finally:
            swapper.kill()


def test_path_is_never_opened_for_writing(folder: Path, shared: Path, precious: Path) -> None:
    """With a planted hard link the daemon opens, changes and removes only its own files, as strace sees it."""
    need("strace")
    for name in ("s", "s.lock", "board", "board.lock", "pid"):
        (shared / name).hardlink_to(precious)
    trace = folder / "trace"
    command = ["strace", "-f", "-o", str(trace), "-e", "trace=openat,open,chmod,fchmodat,truncate,unlink,rename"]
    command += [*COMMAND, "--no-fallback", *_options(shared)]
    done = subprocess.run(command, capture_output=True, timeout=DEADLINE)
    assert done.returncode == 73
    touched = [line for line in trace.read_text().splitlines() if f'"{shared}/' in line and " = -1 " not in line]
    assert [line for line in touched if re.search(r"O_WRONLY|O_RDWR|chmod|truncate|unlink|rename", line)] == []


@pytest.mark.parametrize("prepared", ["a folder of another user", "a link", "an open folder"])
def test_default_folder_in_tmp(folder: Path, precious: Path, prepared: str) -> None:
    """A /tmp/upperd-UID that another user prepared is not used; the daemon says so, and what to do."""
    need_root()
    uid = 61000 + os.getpid() % 500
    default, elsewhere = Path(f"/tmp/upperd-{uid}"), folder / "elsewhere"
    elsewhere.mkdir()
    for path, owner in ((folder, 0), (elsewhere, uid)):
        os.chmod(path, 0o755)
        os.chown(path, owner, owner)
    before = {"a folder of another user": (USER, 0o777), "an open folder": (uid, 0o777)}
    try:
        if prepared == "a link":
            default.symlink_to(elsewhere)
        else:
            owner, mode = before[prepared]
            default.mkdir()
            os.chmod(default, mode)
            os.chown(default, owner, owner)
        program = (
            "import os, sys; from upperd.service import binding; from upperd.base import paths;"
            f"path = paths.daemon_socket({{}}, {uid}); os.setgroups([]); os.setgid({uid}); os.setuid({uid});"
            f"binding.bind_unix(path, default_folder_of={uid})"
        )
        status, text = _run_python(program)
        assert status == 1
        assert f"{default} is not owned by uid {uid}, or is open to others; name another path with --socket" in text
        assert os.listdir(elsewhere) == []
        assert prepared == "a link" or os.listdir(default) == []
        assert prepared == "a link" or stat.S_IMODE(default.stat().st_mode) == before[prepared][1]
    finally:
        if default.is_symlink():
            default.unlink()
        else:
            shutil.rmtree(default)


def _run_python(program: str) -> tuple[int, str]:
    done = subprocess.run([COMMAND[0], "-c", program], capture_output=True, text=True, timeout=DEADLINE)
    return done.returncode, done.stderr


def test_lock_of_another_user(folder: Path, shared: Path) -> None:
    """A lock file that another user made, and may have locked, is refused with its name and the cure."""
    (shared / "s.lock").touch(0o666)
    os.chown(shared / "s.lock", USER, USER)
    status, text = run_to_end(folder, "--no-fallback", *_options(shared))
    assert status == 73
    assert f"{shared}/s.lock is not owned by uid 0, or has two links: remove it" in text
