"""What a connection costs in page faults, and what one that is held open costs in memory.

Starts the daemon as `make install` installs it, and the stock server of the socketserver documentation beside
it, serves connections of 64 bytes, one child each, and prints for both: minor page faults of a child and of the parent
for one connection (ru_minflt of wait4(2)), and the memory (PSS) that each of 200 held connections adds. The daemon is
measured as it is by default, and with every rule and limit.

    .venv/bin/python bench/faults.py
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from peers import LIMITS, launcher
from process import faults, memory_kib

CONNECTIONS = 1000
HELD = 200
MESSAGE = b"a" * 64
MOST = {"child": 130, "parent": 35, "KiB a connection": 250}
"""Of upperd, with every rule and limit."""

STOCK = """
import socketserver, sys

class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(1024):
            self.request.sendall(data.upper())

class Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    max_children = 1000
    request_queue_size = 1000

with Server(sys.argv[1], Handler) as server:
    server.serve_forever()
"""


def main() -> int:
    """Measure the servers; the exit status says whether upperd stays within its bounds."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/socket"
        upperd = [launcher("upperd", "upperd.service.cli"), "--socket", path, "--log-level", "error"]
        stock = measure("stock", [sys.executable, "-c", STOCK, path], path)
        upperd += ["--max-children", "300"]
        plain = measure("upperd", upperd, path)
        limited = measure("limited", [*upperd, *LIMITS], path)
    print(f"{'':8}" + "".join(f"{name:>20}" for name in MOST))
    for name, figures in (("stock", stock), ("upperd", plain), ("limited", limited), ("at most", MOST)):
        print(f"{name:8}" + "".join(f"{figures[figure]:>20.0f}" for figure in MOST))
    return int(any(limited[figure] > most for figure, most in MOST.items()))


def measure(name: str, command: list[str], path: str) -> dict[str, float]:
    """Start a server, load it, stop it."""
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        wait_for(path)
        for _ in range(20):
            call(path)
        before, before_children = faults(server.pid)
        for _ in range(CONNECTIONS):
            call(path)
        # A child that is not reaped yet is not counted yet: a few of a thousand.
        after, after_children = faults(server.pid)
        memory = held_memory(server.pid, path)
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
        Path(path).unlink(missing_ok=True)
    return {
        "child": (after_children - before_children) / CONNECTIONS,
        "parent": (after - before) / CONNECTIONS,
        "KiB a connection": memory,
    }


def call(path: str) -> None:
    """One connection, its reply verified."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(MESSAGE)
        connection.shutdown(socket.SHUT_WR)
        reply = b"".join(iter(lambda: connection.recv(4096), b""))
    if reply != MESSAGE.upper():
        raise SystemExit(f"wrong reply: {reply!r}")


def wait_for(path: str) -> None:
    """Until the server answers: connecting blocks nowhere, so wait on the folder's change instead of the clock."""
    for _ in range(2000):
        try:
            return call(path)
        except (FileNotFoundError, ConnectionRefusedError):
            signal.sigtimedwait([], 0.01)
    raise SystemExit("the server did not come up")


def held_memory(pid: int, path: str) -> float:
    """KiB that each of HELD open connections adds to the PSS of the server and its children."""
    base = memory_kib(pid)
    connections = []
    for _ in range(HELD):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(path)
        connection.sendall(MESSAGE)
        connection.recv(len(MESSAGE))
        connections.append(connection)
    held = memory_kib(pid)
    for connection in connections:
        connection.close()
    return (held - base) / HELD


if __name__ == "__main__":
    sys.exit(main())
