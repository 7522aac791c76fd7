"""A machine with a real systemd as process 1, booted for the tests and thrown away after them.

    pytest --- boot.sh ==exec==> systemd-nspawn --- systemd (process 1 of the machine: the leader)
       |                              |                 |
       |<-- READY=1, leader's pid ----+                 +-- journald, upperd, ...
       +--- nsenter --target LEADER --all COMMAND ------^

The machine sees a root file system, such as the host's own, through an overlay; what it writes goes
to memory. It has no network. Its files, sockets among them, can be reached from the tests by `path()`.
"""

import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

BOOT = Path(__file__).with_name("boot.sh")
COMMAND_DEADLINE = 90.0
BOOT_DEADLINE = 60.0
# A login shell's path, not that of the user that runs the tests.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
}

# Even if the host has the old ones: later systemds support no others, and IPAddressDeny= needs them.
CONTROL_GROUPS = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}


def wait_until(predicate: Callable[[], T], deadline: float, message: str) -> T:
    """Return the first true value of `predicate`; fail with `message` after `deadline` seconds."""
    end = time.monotonic() + deadline
    while not (value := predicate()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline:g} s: {message}")
        select.select([], [], [], 0.02)
    return value


class UnavailableError(Exception):
    """No machine can be booted here; the message says why, and the cure."""


def check_requirements() -> None:
    """Raise UnavailableError if no machine at all can be booted here."""
    if os.geteuid() != 0:
        raise UnavailableError("booting a systemd takes root")
    if shutil.which("systemd-nspawn") is None:
        raise UnavailableError("no systemd-nspawn: apt-get install systemd-container")
    if subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL).returncode != 0:
        raise UnavailableError("this root may not mount: is it that of a container without privileges?")


class Machine:
    """A booted machine: run commands in it, reach its files."""

    def __init__(self, leader: int) -> None:
        self.leader = leader

    def path(self, inside: str) -> str:
        """The path, outside of the machine, of a file in it."""
        return f"/proc/{self.leader}/root{inside}"

    def command(self, *argv: str, user: str | None = None) -> list[str]:
        """The command, outside of the machine, that runs `command` inside, with all groups of `user`."""
        enter = ["nsenter", f"--target={self.leader}", "--all"]
        if user is not None:
            enter += ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        return [*enter, *argv]

    def run(
        self,
        *argv: str,
        user: str | None = None,
        check: bool = True,
        environment: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; with `check`, a failure fails the test and shows all output."""
        done = subprocess.run(
            self.command(*argv, user=user),
            env=ENVIRONMENT | (environment or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_DEADLINE,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{argv} exited {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def kill(self, signum: signal.Signals, pid: str | int) -> None:
        """Send a signal to a process; by the shell, since not every Debian has a kill(1)."""
        self.run("sh", "-c", f"kill -{signum.name.removeprefix('SIG')} {pid}")

    def start(self, *argv: str, user: str | None = None) -> subprocess.Popen[bytes]:
        """Start a command with pipes as its standard input and output."""
        return subprocess.Popen(
            self.command(*argv, user=user),
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def output(self, *argv: str) -> str:
        """Run a command and return its standard output without the last newline."""
        return self.run(*argv).stdout.rstrip("\n")


@contextmanager
def booted(name: str, system: Path, visible: Sequence[Path]) -> Iterator[Machine]:
    """Boot the root file system `system`; the machine can read the folders `visible` of the host, wherever they lie."""
    with (
        tempfile.TemporaryDirectory(prefix="upperd-machine-", dir="/var/tmp") as base,
        _Boot(Path(base), name, system, visible) as boot,
    ):
        yield Machine(boot.wait_for_leader())


class _Boot:
    """One run of boot.sh: its output and its notifications, until it is told to end."""

    def __init__(self, base: Path, name: str, system: Path, visible: Sequence[Path]) -> None:
        room = base / "room"
        room.mkdir()
        self._console = base / "console"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.setblocking(False)
        self._notify.bind(f"{base}/notify")
        self._notified: dict[str, str] = {}
        # If the tests are killed, the machine goes too, and its mounts with it.
        in_namespace = ["setpriv", "--pdeathsig=TERM", "unshare", "--mount", "sh", str(BOOT)]
        arguments = [str(room), f"upperd-{name}-{os.getpid()}", str(system)]
        with self._console.open("wb") as console:
            self._nspawn = subprocess.Popen(
                [*in_namespace, *arguments, *(f"--bind-ro={path}" for path in visible)],
                env=ENVIRONMENT | CONTROL_GROUPS | {"NOTIFY_SOCKET": f"{base}/notify"},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
            )

    def wait_for_leader(self) -> int:
        """Wait until the machine has booted; return the pid of its process 1."""
        wait_until(self._is_ready, BOOT_DEADLINE, "the machine has booted")
        # Later systemds notify at every daemon-reload too; if nothing read that, process 1 would hang.
        self._notify.close()
        return int(self._notified["X_NSPAWN_LEADER_PID"])

    def _is_ready(self) -> bool:
        if self._nspawn.poll() is not None:
            raise AssertionError(f"the machine did not boot:\n{self._console.read_text()}")
        try:
            datagram = self._notify.recv(4096).decode()
        except BlockingIOError:
            return False
        self._notified |= dict(line.split("=", 1) for line in datagram.splitlines())
        return "READY" in self._notified

    def __enter__(self) -> "_Boot":
        return self

    def __exit__(self, *_exception: object) -> None:
        # SIGTERM shuts the machine down in order, SIGKILL at once; both end all of it.
        self._nspawn.send_signal(signal.SIGTERM)
        try:
            self._nspawn.wait(20)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
        self._notify.close()  # for a machine that never became ready
