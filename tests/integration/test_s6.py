"""upperd under a real s6-supervise, which learns from a descriptor that the service is ready."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import COMMAND, DEADLINE, ask_on, read_exactly, read_to_end, wait_until
from tools import need
from transfers import continuing

MILLISECONDS = str(int(DEADLINE * 1000))


class Service:
    """A service folder of s6, and its supervisor."""

    def __init__(self, folder: Path, path: Path) -> None:
        self.folder = folder
        self.path = path

    def svc(self, *words: str) -> None:
        """s6-svc, which waits for the event if told to."""
        subprocess.run(["s6-svc", "-T", MILLISECONDS, *words, self.folder], check=True, timeout=DEADLINE + 5)

    def wait_until_ready(self) -> None:
        subprocess.run(["s6-svwait", "-U", "-t", MILLISECONDS, self.folder], check=True, timeout=DEADLINE + 5)

    def status(self, *fields: str) -> list[str]:
        """The output of s6-svstat."""
        command = ["s6-svstat", "-o", ",".join(fields), self.folder]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(DEADLINE)
        connection.connect(str(self.path))
        return connection

    @property
    def log(self) -> str:
        return (self.folder / "log.txt").read_text()


@pytest.fixture
def service(folder: Path) -> Iterator[Service]:
    need("s6-supervise", "s6-svc", "s6-svwait", "s6-svstat")
    made = Service(folder / "upperd", folder / "upperd.sock")
    made.folder.mkdir()
    command = [*COMMAND, "--no-fallback", "--socket", str(made.path), "--config", str(folder / "toml")]
    (folder / "toml").write_text("ready-fd = 3\n")
    run = made.folder / "run"
    run.write_text(f"#!/bin/sh\nexec >>log.txt 2>&1\nexec {shlex.join(command)}\n")
    run.chmod(0o755)
    (made.folder / "notification-fd").write_text("3\n")
    environ = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    supervisor = subprocess.Popen(["s6-supervise", made.folder], env=environ, start_new_session=True)
    try:
        wait_until((made.folder / "supervise/status").exists, "s6-supervise begins")
        made.wait_until_ready()
        yield made
    finally:
        supervisor.send_signal(signal.SIGTERM)  # which makes it stop the service, and end
        supervisor.wait(DEADLINE)


def test_up_and_ready(service: Service) -> None:
    """s6 considers the service ready when it answers, whatever its children do, and it ends with the supervisor."""
    assert service.status("up", "ready") == ["true", "true"]
    with service.connect() as connection:
        assert ask_on(connection, b"x") == b"X"


def test_restart(service: Service) -> None:
    """s6-svc -r drains the daemon and starts another, which reports its own readiness."""
    [before] = service.status("pid")
    service.svc("-wR", "-r")
    assert service.status("up", "ready") == ["true", "true"]
    assert service.status("pid") != [before]
    with service.connect() as connection:
        assert ask_on(connection, b"x") == b"X"
    assert f"upperd[{before}] exiting: " in service.log


def test_down_drains(service: Service) -> None:
    """s6-svc -d lets a transfer go on to its end; the exit status is 0, and the service stays down."""
    with service.connect() as connection:
        connection.sendall("ß".encode())
        assert read_exactly(connection, 2) == b"SS"
        with continuing(connection) as sent:
            service.svc("-d")
            wait_until(lambda: "drain: ending" in service.log, "the drain begins")
        connection.shutdown(socket.SHUT_WR)
        assert read_to_end(connection) == b"X" * sent[0]
    service.svc("-wD", "-d")
    assert service.status("up", "exitcode") == ["false", "0"]
    assert not service.path.exists()


def test_reload(service: Service) -> None:
    """s6-svc -h reloads: new settings, the same process, still ready."""
    [before] = service.status("pid")
    toml = service.folder.parent / "toml"
    toml.write_text("ready-fd = 3\nmax-children = 7\n")
    service.svc("-h")
    wait_until(lambda: "reload: max-children 64 -> 7" in service.log, "the reload")
    assert service.status("pid", "ready") == [before, "true"]
