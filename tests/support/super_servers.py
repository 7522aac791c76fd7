"""A super-server, which accepts a connection and starts `upperd --inetd` for it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import COMMAND, DEADLINE, read_exactly

INETD = [*COMMAND, "--inetd"]
FAMILIES = pytest.mark.parametrize("family", ["unix", "tcp"])


def connection(family: str) -> tuple[socket.socket, socket.socket]:
    """A client's end with a time-out, and the end that a super-server would have accepted."""
    if family == "unix":
        client, accepted = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname(), DEADLINE)
            accepted = listener.accept()[0]
    client.settimeout(DEADLINE)
    return client, accepted


class Service:
    """One `upperd --inetd`, and its client."""

    def __init__(self, process: subprocess.Popen[bytes], client: socket.socket, folder: Path) -> None:
        self.process = process
        self.client = client
        self._log = folder / "log"

    def wait(self) -> tuple[int, str]:
        """Its exit status, and its log."""
        return self.process.wait(DEADLINE), self._log.read_text()

    def ask(self, text: bytes) -> bytes:
        """Ask, and leave the connection open: from now on it is served."""
        self.client.sendall(text)
        return read_exactly(self.client, len(text))


@contextlib.contextmanager
def serving(folder: Path, family: str, *options: str, **popen: Any) -> Iterator[Service]:
    """Do a super-server's work: the connection becomes standard input. The log is in `folder`/log."""
    client, accepted = connection(family)
    with client, open(folder / "log", "wb") as log:
        with accepted:
            process = subprocess.Popen([*INETD, *options], **{"stdin": accepted, "stderr": log, **popen})
        try:
            yield Service(process, client, folder)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
