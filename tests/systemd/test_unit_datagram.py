"""The socket unit of the manual for datagrams."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from installed import CHECKOUT, DEADLINE, PYTHON, UNITS, Upperd
from machine import wait_until

UNIT = "upperd-datagram.socket"
CLIENT = """
import socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
    client.bind("")
    client.settimeout(30)
    client.connect("/run/upperd/datagram.sock")
    client.send(sys.argv[1].encode())
    print(client.recv(1024).decode())
"""


@pytest.fixture
def listening(upperd: Upperd) -> Iterator[Upperd]:
    """The manual's unit, started; the service is not."""
    [unit] = re.findall(r"\n(\[Socket\]\nListenDatagram=.*?)\.Ed\n", (CHECKOUT / "man/upperd.8").read_text(), re.DOTALL)
    file = Path(upperd.machine.path(f"/run/systemd/system/{UNIT}"))
    file.write_text(unit)
    upperd.systemctl("daemon-reload")
    upperd.systemctl("start", UNIT)
    yield upperd
    upperd.systemctl("stop", UNIT, *UNITS)
    file.unlink()
    upperd.systemctl("daemon-reload")


def ask(upperd: Upperd, text: str, user: str) -> str:
    """The answer to one datagram of this user; empty if the user has no access."""
    done = upperd.machine.run(PYTHON, "-c", CLIENT, text, user=user, check=False)
    return done.stdout.removesuffix("\n")


def test_first_datagram_starts_the_service(listening: Upperd) -> None:
    """The first datagram starts the sandboxed service; members get answers, also after a restart, strangers none."""
    listening.configure("connections-per-child = 1\n")
    assert ask(listening, "wake up", "bob") == "WAKE UP"
    wait_until(lambda: listening.records("UPPERD_EVENT=end"), DEADLINE, "there is a record")
    [record] = listening.records("UPPERD_EVENT=end")
    assert record["UPPERD_PEER_UID"] == listening.machine.output("id", "-u", "bob").strip()
    assert record["UPPERD_BYTES_IN"] == "7"
    listening.systemctl("restart", "upperd")
    assert ask(listening, "again", "alice") == "AGAIN"
    assert ask(listening, "me, too", "carol") == ""
    assert any(text.startswith("unix-dgram:/run/upperd/datagram.sock ") for text in listening.stats()["listeners"])
