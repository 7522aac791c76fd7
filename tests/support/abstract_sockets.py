"""Daemons at an abstract socket, and their clients."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from programs_of_others import PYTHON, for_everybody
from running import COMMAND, DEADLINE, Daemon, ask_on, running
from users import ALICE, connect_as, is_served, needs_root

UPPERCTL = [sys.executable, "-m", "upperd.ctl.main"]
OWN = f"for root{'' if os.geteuid() == 0 else f' and uid {os.geteuid()}'} alone"


@contextmanager
def abstract(folder: Path, name: str, *options: str, **more: Any) -> Iterator[Daemon]:
    """A daemon at this name, whose scoreboard is in `folder`."""
    more = {"command": [*COMMAND, "--socket", name, *options], **more}
    with running(folder, environ={"RUNTIME_DIRECTORY": str(folder), **more.pop("environ", {})}, **more) as daemon:
        daemon.path = Path(name)  # users.connect_as handles such a name
        yield daemon


def connect(name: str) -> socket.socket:
    """A client's connection with a time-out."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(DEADLINE)
    connection.connect(f"\0{name[1:]}")
    return connection


def ask(name: str, data: bytes) -> bytes:
    with connect(name) as connection:
        return ask_on(connection, data)


def serves(daemon: Any, uid: int) -> bool:
    """Whether a connection of this user is answered."""
    [connection] = connect_as(daemon, uid)
    with connection:
        return is_served(connection)


def scoreboard_of(folder: Path, name: str) -> Path:
    return folder / f"{name.replace('%', '%%').replace('/', '%-')}.scoreboard"


@contextmanager
def of_alice(folder: Path, name: str) -> Iterator[tuple[Daemon, dict[str, Any]]]:
    """A daemon of another user, and a function that turns a command into that user's."""
    needs_root(folder)
    runtime = folder / "run"
    runtime.mkdir(0o700)
    os.chown(runtime, ALICE, ALICE)
    environ = {"XDG_RUNTIME_DIR": str(runtime), **for_everybody(folder)}
    as_alice: dict[str, Any] = {"user": ALICE, "group": ALICE, "extra_groups": [], "cwd": "/"}
    command = [PYTHON, "-m", "upperd.service.cli", "--socket", name]
    with running(folder, command=command, environ=environ, **as_alice) as daemon:
        daemon.path = Path(name)
        yield daemon, {"env": {**os.environ, **environ}, **as_alice}
