"""Clients that send datagrams, of this user and of others."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from acting import start_as
from running import DEADLINE, Daemon, running

_CLIENT = """
import socket, sys
client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
client.bind("")
client.connect(sys.argv[1].replace("@", "\\0"))
client.settimeout(float(sys.argv[2]))
for text in sys.argv[3:]:
    client.send(text.encode())
    try:
        print(client.recv(65536).decode(), flush=True)
    except TimeoutError:
        print("no answer", flush=True)
"""
"""Sends each of its arguments, and prints each answer."""


@contextmanager
def serving(folder: Path, *options: str, **popen: object) -> Iterator[Daemon]:
    """A daemon that also takes datagrams at `at(folder)`."""
    with running(folder, "--datagram", str(at(folder)), *options, **popen) as daemon:
        yield daemon


def at(folder: Path) -> Path:
    """The path at which it takes them."""
    return folder / "datagram"


def sender(to: Path | tuple[str, int], address: str | None = "") -> socket.socket:
    """A socket that sends datagrams there, and gets answers at `address`; for "" the kernel chooses the address."""
    client = socket.socket(socket.AF_UNIX if isinstance(to, Path) else socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(DEADLINE)
    if isinstance(to, Path) and address is not None:
        client.bind(address)
    client.connect(str(to) if isinstance(to, Path) else to)
    return client


def ask(client: socket.socket, text: bytes) -> bytes:
    """The answer to one datagram."""
    client.send(text)
    return client.recv(2**20)


def start_sender(
    uid: int, path: Path | str, texts: Sequence[str], seconds: float = DEADLINE
) -> subprocess.Popen[bytes]:
    """Start another user's sender of these texts, in turn, with a time limit for each answer. `path`: or @NAME."""
    return start_as(uid, _CLIENT, str(path), str(seconds), *texts)


def answers(process: subprocess.Popen[bytes]) -> list[str]:
    """The answers to this sender."""
    return process.communicate(timeout=2 * DEADLINE)[0].decode().splitlines()


def records(daemon: Daemon) -> list[dict[str, str]]:
    """The fields of the record of every child that served."""
    lines = [line for line in daemon.log.splitlines() if " end: " in line]
    return [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
