"""The service with a handler that obeys (tests/hostile), and two users that are connected to it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from installed import CHECKOUT, PYTHON, Upperd
from machine import Machine

FOLDER = "/opt/hostile"
TALK = """
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.settimeout(60)
client.connect("/run/upperd/upperd.sock")
for line in sys.stdin.buffer:
    client.sendall(line)
    answer = b""
    while not answer.endswith(b"\\n"):
        answer += client.recv(65536) or sys.exit("closed")
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
"""
SECRET = "bob's own words, which are nobody else's"


class User:
    """A connection of a user, whose child obeys."""

    def __init__(self, machine: Machine, name: str) -> None:
        self._process = machine.start(PYTHON, "-c", TALK, user=name)

    def tell(self, program: str) -> tuple[bool, object]:
        """Have the child run a program; return whether it worked, and what it found."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(program).encode() + b"\n")
        self._process.stdin.flush()
        worked, found = json.loads(self._process.stdout.readline() or '[false, "closed"]')
        return worked, found

    def close(self) -> None:
        """End the connection, unless it has ended."""
        if self._process.poll() is None:
            self._process.communicate()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                assert pipe is not None
                pipe.close()


@dataclass
class Stage:
    """The service with a handler that obeys, and two users that are connected."""

    upperd: Upperd
    alice: User
    bob: User

    def pids(self) -> tuple[int, int]:
        """The pids of the daemon, and of bob's child."""
        _, sibling = self.bob.tell("import os; answer = os.getpid()")
        assert isinstance(sibling, int)
        return int(self.upperd.main_pid()), sibling

    def serves_bob(self) -> bool:
        """Whether the connection of bob and a new one of the same user are served."""
        new = User(self.upperd.machine, "bob")
        with closing(new):
            return [one.tell("answer = 1")[1] for one in (self.bob, new)] == [1, 1]


@contextmanager
def serving(upperd: Upperd, *, without: tuple[str, ...] = (), options: str = "") -> Iterator[Stage]:
    """Start the service; `without`: lines of the unit that undo a measure."""
    machine = upperd.machine
    machine.run("mkdir", "-p", FOLDER)
    Path(machine.path(f"{FOLDER}/obey.py")).write_text((CHECKOUT / "tests/hostile/obey.py").read_text())
    upperd.configure(f'handler = "obey:Hold"\npython-path = ["{FOLDER}"]\n{options}')
    if without:
        upperd.change_service(*without)
    upperd.systemctl("start", "upperd.socket")
    with closing(User(machine, "alice")) as alice, closing(User(machine, "bob")) as bob:
        bob.tell(f"secret = {SECRET!r}")
        yield Stage(upperd, alice, bob)


@contextmanager
def bait(machine: Machine) -> Iterator[None]:
    """A socket in /run to which every user may connect, like that of D-Bus."""
    with socket.socket(socket.AF_UNIX) as listener:
        path = machine.path("/run/bait.sock")
        listener.bind(path)
        Path(path).chmod(0o666)
        listener.listen()
        yield
        Path(path).unlink()
