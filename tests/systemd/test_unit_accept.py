"""The units of the manual that start a process for each connection (Accept=yes)."""

import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from installed import CHECKOUT, DEADLINE, Upperd, read_to_end
from machine import wait_until
from upload import Upload

MANUAL = (CHECKOUT / "man/upperd.8").read_text()
SOCKET = "/run/upper.sock"
SOCKET_UNIT = f"[Socket]\nListenStream={SOCKET}\nAccept=yes\n"


@pytest.fixture(params=["socket", "null"])
def accepting(upperd: Upperd, request: pytest.FixtureRequest) -> Iterator[Upperd]:
    """The manual's example, started: with its StandardInput=socket, and without."""
    [service] = re.findall(r"\n(\[Service\]\nExecStart=\S+ --inetd\n.*?)\.Ed\n", MANUAL, re.DOTALL)
    folder = Path(upperd.machine.path("/run/systemd/system"))
    folder.joinpath("upper.socket").write_text(SOCKET_UNIT)
    folder.joinpath("upper@.service").write_text(service.replace("Input=socket", f"Input={request.param}"))
    upperd.systemctl("daemon-reload")
    # journald looks up the sender's unit when it reads a record; on a busy host the process may have ended by then.
    journald = upperd.systemctl("show", "--property=MainPID", "--value", "systemd-journald")
    upperd.machine.run("renice", "-n", "-20", "-p", journald)
    upperd.systemctl("start", "upper.socket")
    yield upperd
    upperd.systemctl("stop", "upper.socket", "upper@*.service")


def connect(upperd: Upperd) -> socket.socket:
    """A client's connection, which is served from now on."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(DEADLINE)
    connection.connect(upperd.machine.path(SOCKET))
    connection.sendall(b"x")
    assert connection.recv(2) == b"X"
    return connection


def records(upperd: Upperd) -> list[dict[str, str]]:
    """The journal's records about the ends of all connections, of this invocation of the socket."""
    upperd.machine.run("journalctl", "--sync")
    lines = upperd.machine.output("journalctl", "--output=json", "--all", "UPPERD_EVENT=end", "UPPERD_LISTENER=0")
    found = [json.loads(line) for line in lines.splitlines()]
    return [record for record in found if record.get("_SYSTEMD_UNIT", "").startswith("upper@")]


def units(upperd: Upperd) -> list[str]:
    """The units of the connections that are served."""
    shown = upperd.systemctl("list-units", "--plain", "--no-legend", "--state=active", "upper@*.service")
    return [line.split()[0] for line in shown.splitlines()]


def processes(upperd: Upperd) -> list[int]:
    """The number of processes of each unit."""
    groups = [upperd.systemctl("show", "--property=ControlGroup", "--value", unit) for unit in units(upperd)]
    return [len(upperd.machine.output("cat", f"/sys/fs/cgroup{group}/cgroup.procs").split()) for group in groups]


def test_each_connection_has_a_process(accepting: Upperd) -> None:
    """Clients are answered, and the unit of each connection has a record of its end, with fields, in the journal."""
    before = len(records(accepting))
    with closing(connect(accepting)) as one, closing(connect(accepting)) as two:
        assert processes(accepting) == [2, 2]  # a parent with one child
        for connection in (one, two):
            connection.shutdown(socket.SHUT_WR)
            assert read_to_end(connection) == ""
    wait_until(lambda: len(records(accepting)) == before + 2, DEADLINE, "there are two records more")
    assert len({record["_SYSTEMD_UNIT"] for record in records(accepting)[before:]}) == 2
    assert {record["UPPERD_OUTCOME"] for record in records(accepting)[before:]} == {"done"}


def test_stop_ends_a_quiet_connection(accepting: Upperd) -> None:
    """When the manager stops the service a quiet connection ends in order, and the unit has not failed."""
    with closing(connect(accepting)) as connection:
        accepting.systemctl("stop", "upper@*.service")
        assert read_to_end(connection) == ""
    assert records(accepting)[-1]["UPPERD_OUTCOME"] == "quiet"
    assert accepting.systemctl("list-units", "--failed", "--no-legend", "upper@*.service") == ""


def test_stop_waits_for_an_upload(accepting: Upperd) -> None:
    """An upload during a stop is answered to its end: the child does not get the manager's signal."""
    with closing(connect(accepting)) as connection:
        upload = Upload(connection)
        [unit] = units(accepting)
        with accepting.machine.start("systemctl", "stop", unit) as stop:
            state = ("show", "--property=SubState", "--value", unit)
            wait_until(
                lambda: upload.go_on() and accepting.systemctl(*state) == "stop-sigterm", DEADLINE, "the stop began"
            )
            answer = upload.finish()
    assert answer == Upload.TEXT.upper()
    assert stop.returncode == 0
