"""The path that the daemon binds itself."""

import os
import shutil
import signal
import socket
import stat
import subprocess
from pathlib import Path

from running import COMMAND, Daemon, Manager, run_to_end, running
from tools import missing


def test_stale_socket_is_taken_over(folder: Path) -> None:
    """A socket that a killed daemon left behind is taken over by the next one."""
    with running(folder) as first:
        first.signal(signal.SIGKILL)
        first.wait()
        assert first.path.exists()
    with running(folder) as second:
        assert second.ask(b"again") == b"AGAIN"


def test_live_daemon_is_named(daemon: Daemon, folder: Path) -> None:
    """A second daemon on the same path exits with 75 and names the pid of the first, which serves on."""
    status, said = run_to_end(folder, "--socket", str(daemon.path))
    assert status == 75
    assert f"already running (pid {daemon.pid})" in said
    assert daemon.ask(b"x") == b"X"


def test_foreign_listener_is_not_touched(folder: Path) -> None:
    """A path on which another program listens is "already running", too."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(folder / "s"))
        other.listen()
        status, said = run_to_end(folder, "--socket", "s")
        assert (status, f"already running (pid {os.getpid()})" in said) == (75, True)


def test_other_file_is_refused(folder: Path) -> None:
    """A path that exists and is not a socket is refused, and left unchanged."""
    (folder / "s").write_text("precious")
    status, said = run_to_end(folder, "--socket", "s")
    assert (status, "is not a socket" in said, (folder / "s").read_text()) == (73, True, "precious")
    assert not (folder / "s.lock").exists()


def test_two_starts_at_once(folder: Path) -> None:
    """Of ten daemons started at the same moment on one path, exactly one remains."""
    manager = Manager(folder / "notify")
    environ = {**os.environ, "NOTIFY_SOCKET": str(manager.path)}
    command = [*COMMAND, "--socket", str(folder / "upperd.sock"), "--no-fallback"]
    started = [subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) for _ in range(10)]
    try:
        manager.wait_for("READY=1")
        pids = {process.pid: process for process in started}
        while len(pids) > 1:
            pid, status = os.waitpid(-1, 0)
            pids.pop(pid)
            assert os.waitstatus_to_exitcode(status) == 75
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(folder / "upperd.sock"))
            client.sendall(b"x")
            assert client.recv(8) == b"X"
    finally:
        for process in pids.values():
            process.terminate()
            process.wait()
        for process in started:
            process.returncode = process.returncode or 0  # reaped above
        manager.close()


def test_permissions_are_never_wrong(folder: Path) -> None:
    """The socket is closed to others and gets the group's permissions before it listens: strace sees the order."""
    if shutil.which("strace") is None:
        missing("no strace: apt-get install strace")
    trace = folder / "trace"
    calls = "trace=bind,listen,chmod,fchmodat,umask"
    command = ["strace", "-D", "-o", str(trace), "-e", calls, *COMMAND, "--socket", str(folder / "upperd.sock")]
    with running(folder, command=command, umask=0o007) as daemon:
        assert stat.S_IMODE(os.stat(daemon.path).st_mode) == 0o660
        daemon.stop()
    marks = ("umask", "upperd.sock", "/proc/self/fd/", "listen(")
    lines = [line for line in trace.read_text().splitlines() if any(mark in line for mark in marks)]
    order = [line.split("(")[0] for line in lines if "rehearsal" not in line]
    begin = order.index("bind")
    since = [call.replace("fchmodat", "chmod") for call in order[begin - 1 : begin + 6]]
    assert since == ["umask", "bind", *["umask"] * 3, "chmod", "listen"]
    assert "umask(0177)" in lines[begin - 1]


def test_only_our_own_socket_is_removed(daemon: Daemon) -> None:
    """The daemon removes its own socket at its end, but not another program's socket in its place."""
    os.unlink(daemon.path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(daemon.path))
        assert daemon.stop() == 0
        assert daemon.path.exists()


def test_path_is_removed_at_the_end(daemon: Daemon) -> None:
    """The path that the daemon bound is gone after its end."""
    assert daemon.stop() == 0
    assert not daemon.path.exists()
