"""A service manager for the soak test: it holds the listener and restarts the daemon whenever it has ended.

Like systemd with a socket unit and KillMode=mixed, it kills the processes that a daemon leaves behind before it starts
the next one. Optionally it lets them finish their connections first, as happens without a service manager.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from soak import process
from soak.account import Account
from soak.settings import Settings
from upperd.server.snapshot import read

DEADLINE = 30.0
"""Seconds for a start, a reload, a drain, or anything else that does not depend on a client."""
ORPHAN_SECONDS = 25.0
"""How long the children of a killed parent may take to finish their connections."""
BACKLOG = 256
_PASS = 'exec 3<&0 0</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'
"""Passes the listener as descriptor 3, and sets LISTEN_PID before exec (sd_listen_fds(3))."""


class SoakError(Exception):
    """The soak test cannot go on. The text says why."""


class Service:
    """The running daemon, and the account of those that have ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "socket"
        self.config = folder / "upperd.toml"
        self.scoreboard = folder / "scoreboard"
        self.account = Account()
        self.clients: set[int] = set()
        """Our child processes that are no daemon."""
        self._started = 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        os.chmod(self.path, 0o666)
        self.listener.listen(BACKLOG)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._notify.bind(str(folder / "notify"))
        self.settings = Settings()
        self._daemon: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """The pid of the running daemon."""
        return self._daemon.pid

    @property
    def log(self) -> Path:
        """The log file of the running daemon."""
        return self.folder / f"log-{self._started}"

    def write_settings(self, settings: Settings) -> None:
        """Write the settings for the next start or reload."""
        self.settings = settings
        self.config.write_text(settings.toml())

    def start(self) -> None:
        """Start a daemon and wait until it is ready."""
        self._started += 1
        self.listen_to_notifications()
        upperd = Path(sys.executable).with_name("upperd")
        command = ["sh", "-c", _PASS, "upperd", str(upperd), "--config", str(self.config)]
        command += ["--scoreboard", str(self.scoreboard)]
        environ = {**os.environ, "NOTIFY_SOCKET": str(self.folder / "notify")}
        with self.log.open("wb") as log:
            self._daemon = subprocess.Popen(command, stdin=self.listener.fileno(), stderr=log, env=environ)
        self.wait_for("READY=1")

    def listen_to_notifications(self) -> list[str]:
        """The assignments that the daemon has sent since the last call."""
        lines: list[str] = []
        try:
            while True:
                lines += self._notify.recv(65536).decode("utf-8").split("\n")
        except BlockingIOError:
            return lines

    def wait_for(self, assignment: str) -> None:
        """Wait until the daemon sends this assignment. Raises SoakError."""
        end = time.monotonic() + DEADLINE
        while assignment not in self.listen_to_notifications():
            if self._daemon.poll() is not None:
                raise SoakError(f"the daemon has ended by itself ({self._daemon.returncode}), see {self.log}")
            if time.monotonic() > end:
                raise SoakError(f"no {assignment} within {DEADLINE:g} s, see {self.log}")
            select.select([self._notify], [], [], 0.2)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the parent."""
        self._daemon.send_signal(number)

    def has_ended(self) -> bool:
        """Whether the daemon has ended, for any reason."""
        return self._daemon.poll() is not None

    def wait_for_end(self, seconds: float, *, spares_children: bool = False) -> None:
        """Wait until the daemon has ended, and account for it. The next one can start at once. Raises SoakError.

        `spares_children`: let the children of a killed parent finish their connections.
        """
        try:
            status = self._daemon.wait(seconds)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGABRT)
            raise SoakError(f"the daemon does not end within {seconds:g} s, see {self.log}") from None
        cut_short = self._end_orphans(ORPHAN_SECONDS if spares_children else 0.0)
        if status not in (0, -signal.SIGKILL):
            raise SoakError(f"the daemon has ended with status {status}, see {self.log}")
        was_killed = status != 0
        self.account.add(self.scoreboard, self.log, was_killed=was_killed, cut_short=cut_short)
        self.log.unlink()

    def _end_orphans(self, seconds: float = 0.0) -> int:
        """Give the children of a killed parent so many seconds, and kill the rest; return how many of these served.

        Idle children end by themselves at once. Stopped ones cannot, and are killed at once.
        """
        end = time.monotonic() + seconds
        killed: set[int] = set()
        while orphans := self.others():
            for pid in orphans:
                if process.state(pid) == "Z":
                    os.waitpid(pid, 0)
                elif pid not in killed and (process.state(pid) == "T" or time.monotonic() > end):
                    if seconds and process.state(pid) != "T":
                        self.account.failures.append(f"child {pid} has outlived its parent, see {self.log}")
                    if process.send_to_child(os.getpid(), pid, signal.SIGKILL):
                        killed.add(pid)
            process.pause(0.005)
        children = read(str(self.scoreboard)).children if killed else []
        return sum(child["pid"] in killed and not child["waiting"] for child in children)

    def others(self) -> list[int]:
        """Our child processes that are neither the daemon nor clients."""
        known = {*self.clients, self.pid if self._daemon.returncode is None else 0}
        return [pid for pid in process.children(os.getpid()) if pid not in known]

    def queued(self) -> int:
        """After the end of all daemons: how many connections in the backlog no daemon has accepted."""
        self.listener.setblocking(False)
        count = 0
        try:
            while True:
                self.listener.accept()[0].close()
                count += 1
        except BlockingIOError:
            return count

    def close(self) -> None:
        """Kill all processes that are left."""
        if not hasattr(self, "_daemon"):
            return
        if self._daemon.poll() is None:
            self._daemon.kill()
            self._daemon.wait()
        if self.others():
            self._end_orphans()
        self.listener.close()
        self._notify.close()


def wait_until(predicate: Callable[[], object], seconds: float = DEADLINE) -> bool:
    """Wait until the predicate is true; return whether that happened within `seconds`."""
    end = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > end:
            return False
        process.pause(0.02)
    return True
