"""A host without systemd, on which daemons go into the background."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from running import DEADLINE, ask_on

from upperd.base import locks
from upperd.server import snapshot
from upperd.service import daemonize

CTL = [sys.executable, "-m", "upperd.ctl.main"]
LAUNCHER = """
import sys
from upperd.service import cli, log
log.SYSLOG_SOCKET, cli.sys.argv = sys.argv[1], ["upperd", *sys.argv[2:]]
{patch}
sys.exit(cli.main())
"""
"""The command, with a syslog socket of the test's own."""
ENVIRON = {name: value for name, value in os.environ.items() if name not in daemonize._SUPERVISED}


class Host:
    """A host without systemd: a folder for everything, a syslog, and the daemons that were started on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "upperd.sock"
        self.pid_file = folder / "upperd.pid"
        self.syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.syslog.bind(str(folder / "log.sock"))
        self.syslog.settimeout(DEADLINE)

    def start(self, *options: str, patch: str = "", **more: Any) -> subprocess.CompletedProcess[str]:
        """Start a daemon as an init script does; return when the starter does."""
        words = ["--daemonize", "--socket", str(self.path), "--no-fallback", "--pid-file", str(self.pid_file), *options]
        command = [sys.executable, "-c", LAUNCHER.format(patch=patch), str(self.folder / "log.sock"), *words]
        more = {"env": ENVIRON, "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **more}
        return subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=DEADLINE, **more)

    @property
    def pid(self) -> int:
        return int(self.pid_file.read_text())

    @property
    def board(self) -> snapshot.Snapshot:
        return snapshot.read(str(self.folder / "scoreboard"))

    def log(self) -> str:
        """All entries that have reached syslog."""
        self.syslog.setblocking(False)
        entries = []
        with contextlib.suppress(BlockingIOError):
            while True:
                entries.append(self.syslog.recv(4096).decode())
        return "\n".join(entries)

    def ask(self, data: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(DEADLINE)
            client.connect(str(self.path))
            return ask_on(client, data)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Signal the daemon that the pid file names, and wait for its end."""
        self._end(self.pid, number)

    def _end(self, pid: int, number: signal.Signals) -> None:
        process = os.pidfd_open(pid)
        try:
            signal.pidfd_send_signal(process, number)
            assert select.select([process], [], [], DEADLINE)[0], "it ends"
        finally:
            os.close(process)

    def status(self) -> int:
        """The exit status of `upperctl status`."""
        return subprocess.run([*CTL, "status", "--socket", str(self.path)], stdout=subprocess.DEVNULL).returncode

    def close(self) -> None:
        """Kill the daemon that holds the lock, whatever its pid file says."""
        with contextlib.suppress(OSError):
            pid = locks.holder(f"{self.path}.lock")
            if pid:
                self._end(pid, signal.SIGKILL)
        self.syslog.close()
