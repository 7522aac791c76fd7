"""--socket @NAME: only rules restrict access, since the socket has no file; clients check the listener's owner."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from abstract_sockets import OWN, UPPERCTL, abstract, ask, of_alice, serves
from acting import need_root, said, start_as
from running import COMMAND, DEADLINE, activated, read_to_end, running, wait_until
from tools import need
from users import ALICE, BOB, connect_as, is_served, needs_root

from upperd import __version__
from upperd.client import AccessError, Client
from upperd.server.snapshot import read


def test_nobody_else_may_connect(folder: Path, name: str) -> None:
    """Without a rule only root and the daemon's own user are served; others are refused, counted and logged."""
    with of_alice(folder, name) as (daemon, _):
        answers = [serves(daemon, uid) for uid in (0, ALICE, BOB)]
        assert answers == [True, True, False]
        said = f"deny: refused 1 connection: 1 by the access rules; the last from uid {BOB}"
        wait_until(lambda: said in daemon.log, "log")


def test_rules_take_its_place(folder: Path, name: str) -> None:
    """If a rule allows users by name the rules hold as for any socket; a deny-user alone lets no other user in."""
    needs_root(folder)
    with abstract(folder, name, "--deny-user", "4242") as daemon:
        assert not serves(daemon, BOB)
        assert f"unix:{name} (bound, {OWN})" in daemon.log
    with abstract(folder, name, "--allow-user", str(BOB)) as daemon:
        assert serves(daemon, BOB)
        assert not serves(daemon, 0)
        assert daemon.log.count(f"ready: upperd {__version__} on unix:{name} (bound) pid=") == 1


def test_rules_of_a_reload(folder: Path, name: str) -> None:
    """A reload that allows a user opens the socket; one that allows none closes it, also for open connections."""
    needs_root(folder)
    config, board = folder / "upperd.toml", folder / "board"
    config.write_text("")
    with abstract(folder, name, "--config", str(config), "--scoreboard", str(board)) as daemon:
        assert not serves(daemon, BOB)
        config.write_text(f"allow-user = [{BOB}]")
        daemon.signal(signal.SIGHUP)
        daemon.manager.wait_for("READY=1")
        assert read(str(board)).listeners == [f"unix:{name} (bound)"]
        [held] = connect_as(daemon, BOB)
        with held:
            assert is_served(held)
            config.write_text("")
            daemon.signal(signal.SIGHUP)
            daemon.manager.wait_for("READY=1")
            assert read_to_end(held) == b""
        assert read(str(board)).listeners == [f"unix:{name} (bound, {OWN})"]


def test_other_listeners_are_not_concerned(folder: Path, name: str) -> None:
    """The default rule of an abstract listener holds for it alone: a path beside it has its permissions."""
    needs_root(folder)
    path = folder / "upperd.sock"
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
        one.bind(f"\0{name[1:]}")
        other.bind(str(path))
        path.chmod(0o666)
        for listener in (one, other):
            listener.listen()
        with running(folder, **activated(folder, [one, other], "--scoreboard", str(folder / "board"))) as daemon:
            assert serves(daemon, BOB)
            daemon.path = Path(name)
            assert not serves(daemon, BOB)
            assert serves(daemon, 0)


def test_one_connection_that_came_by_it(folder: Path, name: str) -> None:
    """--inetd, too, serves only root and its own user if the connection was accepted from an abstract socket."""
    needs_root(folder)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name[1:]}")
        listener.listen()
        address: Any = SimpleNamespace(path=name)
        for uid, served in ((BOB, False), (0, True)):
            [client] = connect_as(address, uid)
            with listener.accept()[0] as accepted, open(os.devnull, "w") as null:
                process = subprocess.Popen([*COMMAND, "--inetd"], stdin=accepted, stderr=null)
            with client:
                assert is_served(client) == served
            assert process.wait(DEADLINE) == 0


IMPOSTOR = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind("\\0" + sys.argv[1][1:])
listener.listen()
print("listens", flush=True)
for _ in range(2):
    print("got", listener.accept()[0].recv(100), flush=True)
"""


def test_impostor_gets_nothing(name: str) -> None:
    """A stranger's abstract socket gets no text, even if --socket names it: any user can take a name first."""
    need_root()
    with start_as(BOB, IMPOSTOR, name) as process:
        assert said(process) == "listens"
        command = [*UPPERCTL, "--socket", name, "send", "secret"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
        assert (done.returncode, done.stdout) == (77, "")
        assert f"{name} belongs to uid {BOB}, not to upperd" in done.stderr
        with pytest.raises(AccessError, match=f"belongs to uid {BOB}"):
            Client(name)
        assert [said(process), said(process)] == ["got b''", "got b''"]


def test_nobody_listens(name: str) -> None:
    """If the name is free, the client says so, and that names are local to a network; an impossible name is named."""
    for words, complaint in (
        ([name], f"nothing listens on {name} in this network namespace"),
        ([f"@{'x' * 108}"], "has 108 bytes, and may have at most 107"),
    ):
        command = [*UPPERCTL, "--socket", *words, "send", "x"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
        assert (done.returncode, complaint in done.stderr) == (69, True)


def test_another_network(folder: Path, name: str) -> None:
    """A daemon cannot be found from another network namespace."""
    need_root()
    need("unshare")
    with abstract(folder, name):
        command = ["unshare", "--net", *UPPERCTL, "--socket", name, "send", "x"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
        assert (done.returncode, f"nothing listens on {name}" in done.stderr) == (69, True)


def test_passed_into_another_network(folder: Path, name: str) -> None:
    """A daemon in a network of its own serves the abstract socket that was bound outside and passed to it."""
    need_root()
    need("unshare")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name[1:]}")
        listener.listen()
        more = activated(folder, [listener], "--scoreboard", str(folder / "board"))
        more["command"] = ["unshare", "--net", *more["command"]]
        with running(folder, **more) as daemon:
            assert os.readlink(f"/proc/{daemon.pid}/ns/net") != os.readlink("/proc/self/ns/net")
            assert ask(name, b"x") == b"X"
