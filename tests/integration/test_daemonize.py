"""`upperd --daemonize`: into the background, the SysV way."""

from __future__ import annotations

import os
import re
import resource
import select
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hosts import ENVIRON, LAUNCHER, Host
from running import DEADLINE, run_to_end, wait_until

from upperd.server import layout, snapshot


def test_life_of_a_sysv_service(host: Host) -> None:
    """The whole life works: start with 0, an answer, a second start with 75 that changes nothing, stop, status 3."""
    assert host.start().returncode == 0
    assert (host.status(), host.ask(b"x")) == (0, b"X")
    before = (host.pid_file.stat().st_ino, host.pid_file.stat().st_mtime_ns)
    again = host.start()
    assert (again.returncode, again.stderr) == (75, f"upperd: already running (pid {host.pid}) on {host.path}\n")
    assert (host.pid_file.stat().st_ino, host.pid_file.stat().st_mtime_ns) == before
    assert (host.status(), host.ask(b"x")) == (0, b"X")
    host.end()
    assert (host.pid_file.exists(), host.path.exists(), host.status()) == (False, False, 3)


def test_start_returns_when_the_daemon_is_ready(host: Host) -> None:
    """When the starter returns, the pid file is complete and every spare child waits, each time."""
    for _ in range(5):
        done = host.start("--spare-children", "3")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        board = host.board
        assert (board.spare, board.header["phase"], board.header["pid"]) == (3, layout.READY, host.pid)
        host.end()


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        (["--socket", "/nowhere/s"], 73, "cannot listen on /nowhere/s: No such file or directory: make the folder"),
        (["--tcp", "192.0.2.1:1"], 73, "not a loopback address"),
        (["--pid-file", "/nowhere/p"], 73, "cannot write the pid file /nowhere/p: No such file or directory"),
        (["--max-children", "0"], 64, "max-children is 0"),
    ],
)
def test_failure_is_shown(host: Host, options: list[str], status: int, reason: str) -> None:
    """A failed start exits with the daemon's own status, prints its reason, and leaves nothing behind."""
    done = host.start(*options)
    assert done.returncode == status
    assert done.stderr.startswith("upperd: ")
    assert reason in done.stderr
    assert (host.path.exists(), host.pid_file.exists()) == (False, False)


@pytest.mark.parametrize(
    ("command", "status", "reason"),
    [
        (["/bin/false"], 70, "ended before it was ready"),
        (["/nowhere/python"], 71, "cannot go into the background: /nowhere/python: No such file"),
    ],
)
def test_end_without_a_word(host: Host, command: list[str], status: int, reason: str) -> None:
    """If the daemon dies without a word, the starter does not wait: it exits with the daemon's status, and a hint."""
    done = host.start(patch=f"cli._lean_command = lambda settings: {command}")
    assert done.returncode == status
    assert reason in done.stderr


@pytest.mark.parametrize(("umask", "shown", "mode"), [(0, 0o022, 0o640), (0o077, 0o077, 0o600), (0o007, 0o007, 0o660)])
def test_umask(host: Host, umask: int, shown: int, mode: int) -> None:
    """The daemon keeps the starter's umask, but not 0, which would open the socket to all; core limits stay."""
    limit = resource.getrlimit(resource.RLIMIT_CORE)
    assert host.start(umask=umask).returncode == 0
    words = Path(f"/proc/{host.pid}/status").read_text()
    assert re.findall(r"Umask:\s*(\d+)", words) == [f"{shown:04o}"]
    assert stat.S_IMODE(host.path.stat().st_mode) == mode
    assert stat.S_IMODE(host.pid_file.stat().st_mode) == 0o644
    assert resource.prlimit(host.pid, resource.RLIMIT_CORE) == limit


def test_folder_of_the_starter_does_not_matter(host: Host) -> None:
    """Relative paths in options and file are relative to the starter's folder, also at a reload; the daemon is in /."""
    words = ["--pid-file", "upperd.pid", "--socket", "upperd.sock", "--config", "c.toml"]
    (host.folder / "c.toml").write_text('max-children = 7\nscoreboard = "board"\n')
    assert host.start(*words, cwd=host.folder).returncode == 0
    assert os.readlink(f"/proc/{host.pid}/cwd") == "/"
    assert host.ask(b"x") == b"X"
    board = str(host.folder / "board")
    assert snapshot.read(board).header["max_children"] == 7
    (host.folder / "c.toml").write_text('max-children = 9\nscoreboard = "board"\n')
    os.kill(host.pid, signal.SIGHUP)
    wait_until(lambda: snapshot.read(board).header["max_children"] == 9, "a reload finds the file")
    host.end()
    said = host.log()
    assert "reload: max-children 7 -> 9" in said
    assert "needs a restart" not in said
    assert (host.pid_file.exists(), host.path.exists()) == (False, False)


def test_session_of_its_own(host: Host) -> None:
    """The daemon has left the starter's session and leads none, so it can never acquire a terminal."""
    assert host.start().returncode == 0
    assert os.getsid(host.pid) not in (os.getsid(0), host.pid)


@pytest.mark.parametrize("closed", ["", "<&-", ">&-", "<&- >&-"])
def test_descriptors(host: Host, closed: str) -> None:
    """The standard streams are /dev/null, however the starter had them; nothing is inherited, and children work."""
    reading, writing = os.pipe()
    command = [sys.executable, "-c", LAUNCHER.format(patch=""), str(host.folder / "log.sock"), "--daemonize"]
    command += ["--socket", str(host.path), "--pid-file", str(host.pid_file)]
    script = ["sh", "-c", f'exec "$@" {closed}', "sh", *command]
    subprocess.run(script, env=ENVIRON, pass_fds=[writing], check=True, timeout=DEADLINE)
    os.close(writing)
    # The end of file: no process holds the other end any more.
    assert (select.select([reading], [], [], DEADLINE)[0], os.read(reading, 1)) == ([reading], b"")
    os.close(reading)
    spare = next(child["pid"] for child in host.board.children if child["waiting"])
    for pid in (host.pid, spare):
        assert [os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1, 2)] == ["/dev/null"] * 3
    wait_until(lambda: len(os.listdir(f"/proc/{spare}/fd")) == 4, "a child has what any child has (test_inheritance)")


def test_log_goes_to_syslog(host: Host) -> None:
    """Syslog entries are datagrams of RFC 3164 with facility daemon, the level, and the daemon's name and pid."""
    assert host.start("--connections-per-child", "1").returncode == 0
    pid = host.pid
    assert host.syslog.recv(4096).startswith(f"<30>upperd[{pid}]: ready: upperd ".encode())
    assert host.ask(b"x") == b"X"
    assert re.match(rb"<30>upperd\[%d\]: end: child \d+ served 1 of uid .* bytes_in=1 " % pid, host.syslog.recv(4096))
    assert host.start().returncode == 75
    assert re.match(rb"<27>upperd\[\d+\]: exiting: already running", host.syslog.recv(4096))


@pytest.mark.parametrize("trouble", ["missing", "never read"])
def test_syslog_in_trouble(host: Host, trouble: str) -> None:
    """A syslog that is missing or never read neither stops nor slows the daemon; lost entries are counted."""
    if trouble == "missing":
        (host.folder / "log.sock").unlink()
    assert host.start("--connections-per-child", "1").returncode == 0
    assert [host.ask(b"x") for _ in range(50)] == [b"X"] * 50
    assert host.ask(b"y") == b"Y"
    wait_until(lambda: host.board.header["records_lost"] > 0 or host.ask(b"x") != b"X", "lost entries are counted")


@pytest.mark.parametrize("variable", ["NOTIFY_SOCKET", "LISTEN_FDS", "INVOCATION_ID"])
def test_refused_under_systemd(folder: Path, variable: str) -> None:
    """Under systemd the start is refused with status 64, and the error names the variable, and what to do."""
    status, said = run_to_end(folder, "--daemonize", "--socket", str(folder / "s"), **{**ENVIRON, variable: "1"})
    assert status == 64
    assert "systemd supervises this process: use Type=notify without --daemonize" in said
    assert list(folder.iterdir()) == []
