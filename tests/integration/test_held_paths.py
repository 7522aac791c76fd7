"""Paths that a service manager holds: the message names the manager and the cure, not a daemon that does not run."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from running import run_to_end

LISTEN = """
import socket, sys
with open("/proc/self/comm", "w") as file:
    file.write(sys.argv[2])
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
socket.send_fds(socket.socket(fileno=int(sys.argv[3])), [b"x"], [listener.fileno()])
sys.stdin.read()
"""


def _start(path: Path, name: str, control: socket.socket) -> "subprocess.Popen[bytes]":
    words = [sys.executable, "-c", LISTEN, str(path), name, str(control.fileno())]
    return subprocess.Popen(words, stdin=subprocess.PIPE, pass_fds=[control.fileno()])


def test_socket_of_a_unit(folder: Path) -> None:
    """If systemd listens for a socket unit, the message names the unit; after systemd's end, the ended process."""
    path = folder / "upperd.sock"
    ours, theirs = socket.socketpair()
    with ours, theirs, _start(path, "systemd", theirs) as manager:
        _, [kept], _, _ = socket.recv_fds(ours, 1, 1)
        status, said = run_to_end(folder, "--socket", str(path))
        assert status == 75
        assert f"{path} belongs to a socket unit: systemd (pid {manager.pid}) listens on it: start its" in said
        manager.communicate()
        status, said = run_to_end(folder, "--socket", str(path))
        assert status == 75
        assert f"though the process that made it (pid {manager.pid}) has ended: start its service (systemctl" in said
    os.close(kept)


def test_reasons_have_no_numbers(folder: Path) -> None:
    """An unresolvable name, and a scoreboard that cannot be made, are described in words, with a cure or an effect."""
    status, said = run_to_end(folder, "--no-socket", "--tcp", "no-such-host.invalid:1")
    assert status == 73
    assert "no-such-host.invalid:1: " in said
    assert ": name an address of this host, such as localhost:9999" in said
    assert "Errno" not in said
