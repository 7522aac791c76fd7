"""upperd as an administrator has it: installed by make, run by systemctl, used by clients."""

import json
import signal
import socket
import subprocess
import sys
import time
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

from machine import Machine, UnavailableError, wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
# Debian's Python: the service cannot see an interpreter in a home folder.
PYTHON = "/usr/bin/python3"
UNITS = ("upperd.socket", "upperd.service")
TCP_UNIT = "upperd-tcp.socket"
CONFIG = "/etc/upperd/upperd.toml"
SOCKET = "/run/upperd/upperd.sock"
OWN_SOCKET = "/run/upperd/state/upperd.sock"
"""The socket that the daemon binds itself."""
DEADLINE = 30.0


def collect_wheels(folder: Path) -> None:
    """Put what pip needs for an installation into `folder`: the machine has no network.

    Collected for the host's Python, and good for later ones: pure Python, or the stable ABI (psutil).
    """
    if subprocess.run([PYTHON, "-c", "import ensurepip, venv"], stderr=subprocess.DEVNULL).returncode != 0:
        raise UnavailableError(f"no {PYTHON} with venv to install for: apt-get install python3-venv")
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"]
    pip = [sys.executable, "-m", "pip", "--python", PYTHON, "--quiet"]
    subprocess.run([*pip, "wheel", "--wheel-dir", str(folder), *wanted], check=True)


class Upperd:
    """The service in its machine."""

    def __init__(self, machine: Machine, wheels: Path) -> None:
        self.machine = machine
        self._pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels)}
        self._since = 0.0
        self.socket = SOCKET

    # As the administrator

    def make(self, *arguments: str, python: str = PYTHON, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Call make in the checkout, without a network."""
        argv = ("make", "-C", str(CHECKOUT), f"PYTHON={python}", *arguments)
        return self.machine.run(*argv, environment=self._pip, check=check)

    def is_installed(self) -> bool:
        """Whether `make install` was called, and not undone."""
        return Path(self.machine.path("/usr/local/bin/upperd")).exists()

    def systemctl(self, *arguments: str) -> str:
        """Call systemctl; it must succeed."""
        return self.machine.output("systemctl", *arguments)

    def reset(self) -> None:
        """Stop both units, and remove their history and the changes of earlier tests."""
        self.systemctl("stop", *UNITS, TCP_UNIT)
        self.systemctl("unmask", "--runtime", "upperd.socket")
        for unit in UNITS:
            self.machine.run("rm", "-rf", f"/run/systemd/system/{unit}.d")
        self.systemctl("daemon-reload")
        self.machine.run("systemctl", "reset-failed", *UNITS, TCP_UNIT, check=False)
        self.machine.run("rm", "-rf", "/run/upperd")
        self.machine.run("cp", str(CHECKOUT / "systemd/upperd.toml"), CONFIG)
        self._since = time.time()

    def without_socket_unit(self) -> None:
        """From now on the daemon binds a path itself."""
        self.systemctl("mask", "--runtime", "upperd.socket")
        self.socket = OWN_SOCKET

    def configure(self, text: str) -> None:
        """Write the operator's file."""
        Path(self.machine.path(CONFIG)).write_text(text)

    def change_service(self, *settings: str) -> None:
        """Change the unit as `systemctl edit` does."""
        folder = Path(self.machine.path("/run/systemd/system/upperd.service.d"))
        folder.mkdir(exist_ok=True)
        folder.joinpath("test.conf").write_text("\n".join(["[Service]", *settings, ""]))
        self.systemctl("daemon-reload")

    def run_with(self, *options: str) -> None:
        """Replace the options in the unit by these."""
        command = " ".join(["/usr/local/bin/upperd", *options])
        self.change_service("ExecStart=", f"ExecStart={command}")

    # As an observer

    def property(self, name: str) -> str:
        """Look up a property of the service in the manager."""
        return self.systemctl("show", "--property", name, "--value", "upperd.service")

    def main_pid(self) -> str:
        """The pid of the main process, "0" if there is none."""
        return self.property("MainPID")

    def processes(self) -> list[str]:
        """The pids of all processes of the user upperd."""
        # From /proc, since not every Debian has a pgrep(1); a process may end meanwhile.
        find = ("find", "/proc", "-maxdepth", "1", "-name", "[0-9]*", "-user", "upperd", "-printf", "%f\\n")
        return self.machine.run(*find, check=False).stdout.split()

    def records(self, *matches: str) -> list[dict[str, str]]:
        """The journal's records of this start of the service that match."""
        start = f"_SYSTEMD_INVOCATION_ID={self.property('InvocationID')}"
        self.machine.run("journalctl", "--sync")
        lines = self.machine.output("journalctl", "--output=json", "--all", start, *matches)
        return [json.loads(line) for line in lines.splitlines()]

    def journal(self) -> str:
        """All lines of the journal about both units since the reset."""
        units = [f"--unit={unit}" for unit in UNITS]
        self.machine.run("journalctl", "--sync")
        return self.machine.output("journalctl", f"--since=@{self._since:.6f}", *units)

    def stats(self, user: str | None = None) -> dict[str, Any]:
        """The output of `upperctl stats --json`."""
        done = self.machine.run("upperctl", "stats", "--json", user=user)
        return dict(json.loads(done.stdout))

    def kill_main(self, signum: signal.Signals) -> str:
        """Send a signal to the main process alone; return its pid."""
        pid = self.main_pid()
        self.machine.kill(signum, pid)
        return pid

    def wait_for_another_main(self, pid: str) -> None:
        """Wait until the service is ready again with another main process than `pid`."""

        def is_back() -> bool:
            return self.property("ActiveState") == "active" and self.main_pid() not in ("0", pid)

        wait_until(is_back, DEADLINE, "the service is ready with another main process")

    # As a client: outside of the machine, so the daemon sees root with pid 0

    def connect(self) -> socket.socket:
        """Connect to the service's path."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(DEADLINE)
        try:
            connection.connect(self.machine.path(self.socket))
        except OSError:
            connection.close()
            raise
        return connection

    def ask(self, text: str) -> str:
        """Connect, send, half-close, and read to the end."""
        with closing(self.connect()) as connection:
            connection.sendall(text.encode())
            connection.shutdown(socket.SHUT_WR)
            return read_to_end(connection)


def read_to_end(connection: socket.socket) -> str:
    """Everything that comes up to the end of file."""
    return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def answer_or_end(connection: socket.socket) -> str:
    """Everything that comes up to the end, either in order or by a reset."""
    try:
        return read_to_end(connection)
    except ConnectionResetError:
        return ""
