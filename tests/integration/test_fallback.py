"""TCP in place of an unusable default path, for root and the daemon's own user only; never for a path given by name."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import sandbox
from acting import OTHER, USER, need_root
from running import COMMAND, Daemon, run_to_end, running
from sandbox import netlink_refused
from tools import need

from upperd.base.paths import FALLBACK_TCP

MODULES = os.pathsep.join((str(Path(__file__).parents[2]), sysconfig.get_path("purelib")))
"""Excludes the standard library of this Python, whose version may differ from that of the host's Python."""
IN_NETWORK = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
"""A network namespace of its own, in which port 9999 is free."""
TAKEN = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 9999))
os.set_inheritable(listener.fileno(), True)
os.execv(sys.argv[1], sys.argv[1:])
"""
SANDBOX = """
import os, sys
sys.path.insert(0, os.path.dirname(sys.argv[1]))
import sandbox
sandbox.netlink_refused()()
os.execv("/usr/bin/setpriv", sys.argv[2:])
"""
ASK = """
import socket
with socket.create_connection(("127.0.0.1", 9999), 30) as client:
    try:
        client.sendall(b"x")
        client.shutdown(socket.SHUT_WR)
        print(client.recv(8).decode())
    except OSError:
        print()
"""


@pytest.fixture(autouse=True)
def _tools() -> None:
    need_root()
    need("unshare", "ip", "nsenter", "setpriv")


@contextmanager
def _without_path(folder: Path, *options: str, uid: int = 0, first: Sequence[str] = ()) -> Iterator[Daemon]:
    """A daemon of this user with an unusable default path, since the parent of its folder is missing.

    `first`: a command that executes it.
    """
    os.chmod(folder, 0o777)
    user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "/usr/bin/python3"]
    command = [*IN_NETWORK, *first, *user, *COMMAND[1:], "--scoreboard", str(folder / "scoreboard"), *options]
    environ = {"RUNTIME_DIRECTORY": str(folder / "missing/upperd"), "PYTHONPATH": MODULES}
    with running(folder, command=command, environ=environ, ready=not first) as daemon:
        yield daemon


def _ask(daemon: Daemon, uid: int) -> str:
    """The answer to a client of this user."""
    there = ["nsenter", f"--net=/proc/{daemon.pid}/ns/net", "setpriv", f"--reuid={uid}", f"--regid={uid}"]
    command = [*there, "--clear-groups", "/usr/bin/python3", "-IS", "-c", ASK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_it_is_for_root_and_the_daemons_own_user(folder: Path) -> None:
    """On the documented address root and the daemon's own user are served, and no other; log and status say so."""
    with _without_path(folder, uid=USER) as daemon:
        assert "missing does not exist" in daemon.log
        assert "; listening on TCP instead" in daemon.log
        assert f"tcp:127.0.0.1:9999 (bound, for root and uid {USER} alone)" in daemon.log
        assert daemon.board.listeners[0] == f"tcp:127.0.0.1:9999 (bound, for root and uid {USER} alone)"
        assert [_ask(daemon, uid) for uid in (0, USER, OTHER)] == ["X", "X", ""]
    assert not (folder / "missing").exists()
    assert FALLBACK_TCP == "localhost:9999"


def test_a_rule_lets_others_in(folder: Path) -> None:
    """A rule that allows a user holds there as elsewhere; one that denies a user admits no other."""
    with _without_path(folder, "--allow-user", str(OTHER)) as daemon:
        assert "alone" not in daemon.log
        assert [_ask(daemon, uid) for uid in (OTHER, USER)] == ["X", ""]
    with _without_path(folder, "--deny-user", str(OTHER)) as daemon:
        assert [_ask(daemon, uid) for uid in (0, OTHER, USER)] == ["X", "", ""]


def test_a_reload_does_not_open_it(folder: Path) -> None:
    """A reload that drops the rule leaves the address to root and the daemon's own user."""
    config = folder / "upperd.toml"
    config.write_text(f"allow-user = [{OTHER}]\n")
    with _without_path(folder, "--config", str(config)) as daemon:
        assert _ask(daemon, OTHER) == "X"
        config.write_text("")
        os.kill(daemon.pid, 1)
        daemon.manager.wait_for("READY=1")
        assert [_ask(daemon, uid) for uid in (0, OTHER)] == ["X", ""]


def test_where_users_are_not_known_nobody_is_served(folder: Path) -> None:
    """If the kernel does not name the peer there is no fallback: the start fails, and the message says why."""
    netlink_refused()
    with _without_path(folder, first=[sys.executable, "-c", SANDBOX, sandbox.__file__]) as daemon:
        assert daemon.wait() == 73
        assert "name another path with --socket; localhost:9999 cannot replace it: the kernel" in daemon.log


def test_taken_port(folder: Path) -> None:
    """If the port is taken as well, the message has the cure for the path, since no option chose the port."""
    command = [*IN_NETWORK, "/usr/bin/python3", "-IS", "-c", TAKEN, *COMMAND]
    done = subprocess.run(
        command, env={**os.environ, "RUNTIME_DIRECTORY": str(folder / "missing/x")}, capture_output=True, text=True
    )
    assert done.returncode == 73
    assert "name another path with --socket; the fallback failed: cannot listen on tcp:localhost:9999: " in done.stderr
    assert "--tcp" not in done.stderr


def _missing(folder: Path) -> str:
    return str(folder / "typo" / "upperd.sock")


def _too_long(folder: Path) -> str:
    return str(folder / ("x" * 120))


def _not_a_folder(folder: Path) -> str:
    (folder / "file").touch()
    return str(folder / "file" / "upperd.sock")


@pytest.mark.parametrize("place", [_missing, _too_long, _not_a_folder])
@pytest.mark.parametrize("in_file", [False, True])
def test_a_path_that_was_named_is_an_error(folder: Path, place: Callable[[Path], str], in_file: bool) -> None:
    """A path given on the command line or in the file is never replaced by TCP: status 73, and nothing is left."""
    path = place(folder)
    (folder / "upperd.toml").write_text(f'socket = "{path}"\n')
    before = sorted(folder.rglob("*"))
    for _ in range(2):  # the second start is like the first
        status, said = run_to_end(folder, *(["--config", "upperd.toml"] if in_file else ["--socket", path]))
        assert (status, "TCP" in said) == (73, False)
        assert ": make the folder " in said or "choose a" in said
        assert sorted(folder.rglob("*")) == before
