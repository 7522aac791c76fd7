"""A real upperd process, a service manager's socket of the test's own, and plain clients."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from upperd.server.snapshot import Snapshot, read

T = TypeVar("T")
DEADLINE = 30.0
"""Seconds: generous, for a machine that is busy with other work."""


def wait_until(predicate: Callable[[], T], message: str, deadline: float = DEADLINE) -> T:
    """Return the first true value of `predicate`; fail with `message` after `deadline` seconds."""
    end = time.monotonic() + deadline
    while not (value := predicate()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline:g} s: {message}")
        select.select([], [], [], 0.01)
    return value


class Manager:
    """The receiving side of sd_notify(3)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        os.chmod(path, 0o777)  # for a daemon of another user
        self.messages: list[str] = []
        self.stored: dict[str, socket.socket] = {}
        """The descriptor store: copies of listeners, by their names."""

    def wait_for(
        self, prefix: str, deadline: float = DEADLINE, is_over: Callable[[], bool] | None = None
    ) -> str:
        """Return the next unseen assignment that begins with `prefix`; fail when it `is_over`."""
        end = time.monotonic() + deadline
        while (left := end - time.monotonic()) > 0:
            if is_over is not None and is_over():
                break
            self.socket.settimeout(min(left, 0.2))
            with contextlib.suppress(TimeoutError):
                lines = self._receive()
                self.messages += lines
                for line in lines:
                    if line.startswith(prefix):
                        return line
        raise AssertionError(f"no {prefix} within {deadline:g} s; came: {self.messages}")

    def _receive(self) -> list[str]:
        """The assignments of one message; descriptors for the store are kept."""
        data, descriptors, _, _ = socket.recv_fds(self.socket, 65536, 16)
        lines = data.decode("utf-8").split("\n")
        names = [line.removeprefix("FDNAME=") for line in lines if line.startswith("FDNAME=")]
        if "FDSTORE=1" in lines:
            self.stored.update(zip(names, map(_adopted, descriptors), strict=True))
        return lines

    def close(self) -> None:
        self.socket.close()
        for listener in self.stored.values():
            listener.close()

    @contextlib.contextmanager
    def closed_on_error(self) -> Iterator[None]:
        """Close the socket, after which sending to it fails."""
        try:
            yield
        except BaseException:
            self.close()
            raise


def _adopted(descriptor: int) -> socket.socket:
    return socket.socket(fileno=descriptor)


class Daemon:
    """One upperd under test."""

    def __init__(self, process: subprocess.Popen[bytes], manager: Manager, folder: Path, path: Path) -> None:
        self.process = process
        self.manager = manager
        self.folder = folder
        self.path = path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def board(self) -> Snapshot:
        return read(str(self.path.parent / "scoreboard"))

    def children(self) -> list[int]:
        """The pids of the children that live or have not been reaped (proc(5), children)."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def connect(self) -> socket.socket:
        """A client's connection with a time-out."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(DEADLINE)
        connection.connect(str(self.path))
        return connection

    def held(self) -> socket.socket:
        """A connection that a child serves already."""
        connection = self.connect()
        connection.sendall(b"held")
        assert connection.recv(16) == b"HELD"
        return connection

    def ask(self, data: bytes) -> bytes:
        """One connection: send everything, half-close, read to the end."""
        with self.connect() as connection:
            return ask_on(connection, data)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; return the exit status."""
        return self.process.wait(DEADLINE)

    def kill(self) -> None:
        """SIGKILL, and wait until the children have ended, too: until then one may still take a connection."""
        children = self.children()
        self.signal(signal.SIGKILL)
        self.wait()
        wait_until(lambda: not any(map(lives, children)), "all children end")

    def stop(self) -> int:
        """SIGTERM, and wait."""
        self.signal(signal.SIGTERM)
        return self.wait()


def open_files(pid: int) -> list[str]:
    """The target of each descriptor of a process (proc(5), fd), except those that it closes at this moment."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(link))
    return found


def lives(pid: int) -> bool:
    """Whether the process exists, and is not a zombie (proc(5), stat)."""
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def ask_on(connection: socket.socket, data: bytes) -> bytes:
    """Send everything, half-close, read to the end."""
    connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)
    return read_to_end(connection)


def can_read(client: socket.socket) -> bool:
    """Whether a read would not block: an answer is there, or the end."""
    return bool(select.select([client], [], [], 0)[0])


def is_full(client: socket.socket) -> bool:
    """Whether every buffer between a non-blocking client and the daemon is full; sends until then.

    They are full when a child that reads, if there is one, has made no room for a while.
    """
    try:
        client.send(b"x" * 65536)
    except BlockingIOError:
        return not select.select([], [client], [], 1.5)[1]
    return False


def read_to_end(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def read_exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (block := connection.recv(size - len(data))):
        data += block
    return data


COMMAND = [sys.executable, "-m", "upperd.service.cli"]


@contextlib.contextmanager
def running(
    folder: Path,
    *options: str,
    command: list[str] | Callable[[], list[str]] | None = None,
    environ: dict[str, str] | None = None,
    ready: bool = True,
    **popen: Any,
) -> Iterator[Daemon]:
    """A daemon that is ready; killed afterwards if it still lives. Its log is in `folder`/log."""
    path = folder / "upperd.sock"
    manager = Manager(folder / f"notify-{time.monotonic_ns()}")
    environ = {**os.environ, "NOTIFY_SOCKET": str(manager.path), **(environ or {})}
    if callable(command):
        command = command()
    command = command or [*COMMAND, "--socket", str(path), "--no-fallback", *options]
    with open(folder / "log", "ab") as log, manager.closed_on_error():
        process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stderr=log, **popen)
    daemon = Daemon(process, manager, folder, path)
    try:
        if ready:
            try:
                manager.wait_for("READY=1")
            except AssertionError as error:
                raise AssertionError(f"{error}\n{daemon.log}") from None
        yield daemon
    except BaseException:
        print(daemon.log)  # pytest shows it beside the failure
        raise
    finally:
        if process.poll() is None:
            for pid in daemon.children():  # one that the test has stopped would stay for ever
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
            process.kill()
        process.wait()
        manager.close()


def run_to_end(folder: Path, *options: str, **environ: str) -> tuple[int, str]:
    """Run upperd to its end, which the test expects: its exit status, and its output."""
    done = subprocess.run(
        [*COMMAND, *options],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        cwd=folder,
    )
    return done.returncode, done.stderr


_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = iter(range(10_000 + _WORKER % 20 * 1_000 + os.getpid() % 500, 32_768))
"""Below the ports that the kernel gives to clients, and different in each worker of pytest-xdist."""


def free_port() -> int:
    """A free port on the loopback address, which is given to no other program before it is used."""
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


_PASS = """
import fcntl, os, sys
numbers, pid, names = map(int, sys.argv[1].split()), sys.argv[2] or str(os.getpid()), sys.argv[3]
passed = []
for number in numbers:  # first out of the way of each other
    passed.append(fcntl.fcntl(number, fcntl.F_DUPFD, 100))
    os.close(number)
for index, number in enumerate(passed):
    os.dup2(number, 3 + index)
    os.close(number)
os.environ.update(LISTEN_FDS=str(len(passed)), LISTEN_PID=pid)
if names:
    os.environ["LISTEN_FDNAMES"] = names
os.execv(sys.argv[4], sys.argv[4:])
"""


def activated(
    folder: Path, passed: list[Any], *options: str, names: str = "", pid: str = ""
) -> dict[str, Any]:
    """Arguments of `running` that pass descriptors as a service manager does: from 3 on, LISTEN_PID set before exec."""
    numbers = [file.fileno() for file in passed]
    arguments = [" ".join(map(str, numbers)), pid, names, *COMMAND, *options]
    return {"command": [sys.executable, "-c", _PASS, *arguments], "pass_fds": numbers}
