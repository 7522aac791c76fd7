"""upperd as process 1 of a container: it reaps every orphan, handles signals from the beginning, and ends all."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from acting import need_root
from running import COMMAND, DEADLINE, Daemon, lives, read_exactly, read_to_end, running, wait_until
from tools import need
from transfers import continuing

from upperd.ctl import parser as ctl
from upperd.service import cli, flags
from upperd.service.options import OPTIONS, flag

UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
NUMBERS = {"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}


class Container:
    """A daemon that is process 1 of its own namespace."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon  # whose process is unshare(1), which ends as process 1 ends
        self.pid = wait_until(lambda: daemon.children(), "process 1 begins")[0]
        """Process 1, with its pid outside of the namespace."""

    def signal(self, number: signal.Signals) -> None:
        """Signal process 1, as a container's runtime does, from outside."""
        os.kill(self.pid, number)

    def children(self) -> list[int]:
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def run(self, script: str) -> None:
        """Run a shell in the container, as `docker exec` does: process 1 adopts what the shell leaves behind."""
        command = ["nsenter", "--target", str(self.pid), "--pid", "--mount", "sh", "-c", script]
        subprocess.run(command, check=True, timeout=DEADLINE)


@contextlib.contextmanager
def container(folder: Path, *options: str, before: str = "", ready: bool = True) -> Iterator[Container]:
    """Start a container; `before` is a shell command that runs before its process 1 becomes the daemon."""
    need_root()
    need("unshare", "nsenter")
    daemon = [*COMMAND, "--no-fallback", "--socket", str(folder / "upperd.sock"), *options]
    command = [*UNSHARE, "sh", "-c", f"{before} exec {shlex.join(daemon)}"]
    with running(folder, command=command, ready=ready) as process:
        yield Container(process)


def test_orphans_are_reaped(folder: Path) -> None:
    """Orphans leave no zombies, whether older than the daemon or created under load, and no record is lost by it."""
    with container(folder, before="true & sleep 0.1 &") as inside:
        held = inside.daemon.held()
        for _ in range(5):
            inside.run("for i in 1 2 3 4 5 6 7 8; do (sleep 0.0$i &); done; sh -c 'sleep 0.1 & sleep 0.05 &'")
            assert [inside.daemon.ask(b"x") for _ in range(20)] == [b"X"] * 20
        with held:
            wait_until(lambda: all(map(lives, inside.children())), "no zombie is left")
            wait_until(lambda: len(inside.children()) == len(inside.daemon.board.children), "no orphan is left")
        inside.signal(signal.SIGTERM)
        assert inside.daemon.wait() == 0
        assert "exiting: served 101 connections connections=101 cut=0 killed=0 crashed=0" in inside.daemon.log
        assert "exit=unknown" not in inside.daemon.log


def test_only_there(daemon: Daemon) -> None:
    """A daemon that is not process 1 asks for no signal when a child ends, so it has no such cost."""
    [caught] = [line for line in Path(f"/proc/{daemon.pid}/status").read_text().splitlines() if "SigCgt" in line]
    mask = int(caught.split()[1], 16)
    assert mask >> (signal.SIGTERM - 1) & 1
    assert not mask >> (signal.SIGCHLD - 1) & 1


def test_reload(folder: Path) -> None:
    """SIGHUP reloads in a container, too: the checking process is not taken for an orphan."""
    config = folder / "toml"
    config.write_text("")
    with container(folder, "--config", str(config)) as inside:
        for number in range(10, 15):
            config.write_text(f"max-children = {number}")
            inside.signal(signal.SIGHUP)
            wait_until(lambda number=number: f"-> {number}" in inside.daemon.log, "the reload")  # type: ignore[misc]
        assert "old settings" not in inside.daemon.log


@pytest.mark.parametrize("name", NUMBERS)
def test_signal_before_it_serves(folder: Path, name: str) -> None:
    """A signal during the start is not lost, as it is for a process 1 without handlers: the daemon ends with 0."""
    config = folder / "fifo"
    os.mkfifo(config)
    with container(folder, "--config", str(config), ready=False) as inside:

        def opened() -> int:
            try:
                return os.open(config, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                return 0  # no process reads yet

        with open(wait_until(opened, "it reads its file"), "wb"):
            inside.signal(NUMBERS[name])
        assert inside.daemon.wait() == 0
        assert "exiting: served 0 connections" in inside.daemon.log


@pytest.mark.parametrize("name", NUMBERS)
def test_drain(folder: Path, name: str) -> None:
    """After `docker stop`, and Ctrl-C, a transfer goes on to its end, then the container ends with status 0."""
    with container(folder) as inside, inside.daemon.connect() as client:
        client.sendall("ß".encode())
        assert read_exactly(client, 2) == b"SS"
        with continuing(client) as sent:
            inside.signal(NUMBERS[name])
            wait_until(lambda: "drain: ending" in inside.daemon.log, "the drain begins")
        client.shutdown(socket.SHUT_WR)
        assert read_to_end(client) == b"X" * sent[0]
        assert inside.daemon.wait() == 0
    assert not (folder / "upperd.sock").exists()


def test_kill(folder: Path) -> None:
    """If a drain outlasts the runtime's patience, SIGKILL ends the whole container, which can be started again."""
    with container(folder) as inside:
        inside.run("sleep 600 &")
        with inside.daemon.held() as held, continuing(held):
            left = inside.children()
            inside.signal(signal.SIGTERM)
            wait_until(lambda: "drain: ending" in inside.daemon.log, "the drain begins")
            inside.signal(signal.SIGKILL)
            assert inside.daemon.wait() != 0
        assert not any(map(lives, left))
    with container(folder) as inside:
        assert inside.daemon.ask(b"x") == b"X"


def test_deadline(folder: Path) -> None:
    """A --drain-timeout shorter than the runtime's patience avoids SIGKILL: unfinished clients are cut, status 0."""
    with container(folder, "--drain-timeout", "0.2") as inside, inside.daemon.connect() as client:
        client.sendall(b"A")
        assert read_exactly(client, 1) == b"A"
        with continuing(client), contextlib.suppress(ConnectionError):
            inside.signal(signal.SIGTERM)
            read_to_end(client)
        assert inside.daemon.wait() == 0
        assert "cut=1 killed=0" in inside.daemon.log


def test_not_in_the_background(folder: Path) -> None:
    """--daemonize is refused, since the container would end with process 1."""
    need_root()
    need("unshare")
    environ = {name: value for name, value in os.environ.items() if name not in ("INVOCATION_ID", "NOTIFY_SOCKET")}
    command = [*UNSHARE, *COMMAND, "--daemonize", "--socket", str(folder / "s")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, env=environ)
    assert (done.returncode, "process 1" in done.stderr) == (64, True)


def test_nowhere_to_write(folder: Path) -> None:
    """On a read-only file system the error says so and what to do; TCP alone needs no folder."""
    need_root()
    need("unshare")
    read_only = f"mount -t tmpfs -o ro none {folder}/ro && exec"
    (folder / "ro").mkdir()
    words = shlex.join([*COMMAND, "--no-fallback", "--socket", str(folder / "ro/upperd.sock")])
    command = ["unshare", "--mount", "sh", "-c", f"{read_only} {words}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 73
    assert "Read-only file system: mount a writable file system there, or choose another path" in done.stderr


def test_example_is_valid() -> None:
    """upperd and upperctl understand the command lines of the image in docs/containers.md."""
    text = (Path(__file__).parents[2] / "docs/containers.md").read_text()
    lists = {name: json.loads(words) for name, words in re.findall(r"^([A-Z]+) .*?(\[.*\])$", text, re.MULTILINE)}
    assert lists["ENTRYPOINT"][0] == "upperd"
    options = cli.read_options(flags.parse([*lists["ENTRYPOINT"][1:], *lists["CMD"]]))
    assert options.drain_timeout + 3 < 10  # docker stop
    assert lists["HEALTHCHECK"][0] == "upperctl"
    assert ctl.parse(lists["HEALTHCHECK"][1:])
    known = {f"--{flag(option.name)}" for option in OPTIONS} | {"--daemonize"}
    of_docker = {"--init", "--network", "--pids-limit", "--tmpfs"}
    assert set(re.findall(r"`(--[a-z-]+)", text)) - of_docker <= known
