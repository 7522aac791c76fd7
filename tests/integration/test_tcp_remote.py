"""TCP for other hosts, only if the operator says so. The other host is a network namespace."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from acting import need_root
from running import COMMAND, DEADLINE, free_port, running
from tools import need

HERE, THERE = "192.0.2.1", "192.0.2.2"
"""TEST-NET-1 (RFC 5737)."""
WARNING = "any host that can reach this address may connect, and its users are unknown"
CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 30) as client:
    client.sendall(b"far")
    print(client.recv(16).decode())
"""


class Hosts:
    """Two hosts, each a network namespace, with a virtual cable between them."""

    def __init__(self) -> None:
        self.here, self.there = f"upperd-{os.getpid()}-a", f"upperd-{os.getpid()}-b"

    def connect(self) -> None:
        """Create the namespaces and the cable."""
        for name in (self.here, self.there):
            _ip("netns", "add", name)
        _ip("link", "add", "cable", "netns", self.here, "type", "veth", "peer", "name", "cable", "netns", self.there)
        for name, address in ((self.here, HERE), (self.there, THERE)):
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
            _ip("-n", name, "link", "set", "cable", "up")

    def remove(self) -> None:
        """Delete the namespaces, which deletes the cable."""
        for name in (self.here, self.there):
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)

    def ask_from(self, name: str, address: str, port: int) -> str:
        """The answer to "far" for a client on this host; empty if it cannot connect."""
        command = ["ip", "netns", "exec", name, "/usr/bin/python3", "-c", CLIENT, address, str(port)]
        return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE).stdout.strip()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    need_root()
    need("ip")
    made = Hosts()
    try:
        made.connect()
        yield made
    finally:
        made.remove()


def _command(hosts: Hosts, folder: Path, *options: str) -> list[str]:
    path = str(folder / "upperd.sock")
    return ["ip", "netns", "exec", hosts.here, *COMMAND, "--socket", path, "--no-fallback", *options]


def test_remote_client(hosts: Hosts, folder: Path) -> None:
    """With --tcp-allow-remote another host is served; its uid is unknown, and the log has warned once of both."""
    port = free_port()
    command = _command(hosts, folder, "--tcp", f"{HERE}:{port}", "--tcp-allow-remote")
    with running(folder, command=command) as daemon:
        assert hosts.ask_from(hosts.there, HERE, port) == "FAR"
        assert daemon.stop() == 0
    (warning,) = (line for line in daemon.log.splitlines() if WARNING in line)
    assert f"starting: tcp:{HERE}:{port}: {WARNING}" in warning
    (record,) = (line for line in daemon.log.splitlines() if " end: " in line)
    assert "bytes_in=3" in record
    assert "peer_uid" not in record


def test_remote_is_refused(hosts: Hosts, folder: Path) -> None:
    """Without the option an address that another host can reach ends the start with status 73 and names the option."""
    command = _command(hosts, folder, "--tcp", f"{HERE}:{free_port()}")
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, "--tcp-allow-remote" in done.stderr) == (73, True)
    assert not (folder / "upperd.sock").exists()


def test_loopback_is_not_reached_from_elsewhere(hosts: Hosts, folder: Path) -> None:
    """Without the option another host cannot connect, and there is no warning."""
    port = free_port()
    with running(folder, command=_command(hosts, folder, "--tcp", f"127.0.0.1:{port}")) as daemon:
        assert hosts.ask_from(hosts.there, HERE, port) == ""
        assert hosts.ask_from(hosts.here, "127.0.0.1", port) == "FAR"
    assert WARNING not in daemon.log
