"""--socket @NAME: the life of a daemon at an abstract socket, which has no file, and how commands find it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from abstract_sockets import OWN, UPPERCTL, abstract, ask, connect, of_alice, scoreboard_of
from acting import need_root
from programs_of_others import PYTHON
from running import COMMAND, DEADLINE, activated, read_to_end, run_to_end, running
from users import ALICE

from upperd.server.snapshot import read
from upperd.service import daemonize
from upperd.service.options import Options
from upperd.service.settings import Settings


def test_every_command_finds_it(folder: Path, name: str) -> None:
    """All commands of upperctl work with --socket @NAME, and the statistics lie in the user's runtime folder."""
    with of_alice(folder, name) as (_daemon, as_alice):

        def upperctl(*words: str) -> str:
            command = [PYTHON, "-m", "upperd.ctl.main", "--socket", name, *words]
            done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, **as_alice)
            assert (done.returncode, done.stderr) == (0, "")
            return done.stdout

        assert upperctl("send", "straße") == "STRASSE\n"
        assert "1 answered" in upperctl("ping", "-c", "1", "-q")
        (folder / "lib/psutil.py").write_text("raise ImportError")  # this Python's standard library need not be there
        board = scoreboard_of(folder / "run/upperd", name)
        listening = f"unix:{name} (bound, for root and uid {ALICE} alone)"
        assert read(str(board)).listeners == [listening]
        assert board.stat().st_uid == ALICE
        assert set(os.listdir(board.parent)) == {board.name, f"{board.name}.lock"}


def test_statistics(folder: Path, name: str) -> None:
    """`upperctl --socket @NAME` shows status, stats and top of root's daemon from where root's daemon keeps them."""
    need_root()
    with abstract(folder, name, environ={"RUNTIME_DIRECTORY": ""}) as daemon:
        shown = [
            subprocess.run([*UPPERCTL, "--socket", name, *words], capture_output=True, text=True, timeout=DEADLINE)
            for words in (["status"], ["stats", "--json"], ["top", "--once"])
        ]
        assert [done.returncode for done in shown] == [0, 0, 0]
        assert f"running (pid {daemon.pid}), ready" in shown[0].stdout
        assert f"listening    unix:{name} (bound, for root alone)" in shown[0].stdout
        assert json.loads(shown[1].stdout)["pid"] == daemon.pid
        assert str(daemon.pid) in shown[2].stdout
        assert daemon.stop() == 0
    board = scoreboard_of(Path("/run/upperd"), name)
    done = subprocess.run([*UPPERCTL, "--socket", name, "status"], capture_output=True, text=True, timeout=DEADLINE)
    board.unlink()
    assert (done.returncode, "not running" in done.stdout) == (3, True)


def test_already_running(folder: Path, name: str) -> None:
    """A second daemon at the name ends with status 75, names the first, and harms nothing; later the name is free."""
    with abstract(folder, name) as daemon:
        status, said = run_to_end(folder, "--socket", name)
        assert status == 75
        assert f"already running (pid {daemon.pid} of uid {os.geteuid()}) on {name}" in said
        assert ask(name, b"x") == b"X"
        assert daemon.stop() == 0
    with abstract(folder, name):
        assert ask(name, b"x") == b"X"


def test_never_tcp_instead(folder: Path) -> None:
    """An impossible name is an error before anything is opened, and the daemon does not listen elsewhere instead."""
    for wrong in ("@", f"@{'x' * 108}"):
        status, said = run_to_end(folder, "--socket", wrong)
        assert status == 64
        assert "upperd: socket: " in said
        assert "abstract socket" in said
    longest = f"@{os.getpid()}".ljust(108, "%")
    with abstract(folder, longest) as daemon:
        assert ask(longest, b"x") == b"X"
        assert read(str(scoreboard_of(folder, longest))).header["pid"] == daemon.pid


@pytest.mark.parametrize("option", ["socket-mode=0660", "socket-owner=root", "socket-group=root"])
def test_it_has_no_permissions(folder: Path, name: str, option: str) -> None:
    """Permissions of a path are refused for an abstract socket, and the error names the option to use instead."""
    status, said = run_to_end(folder, "--socket", name, f"--{option}")
    assert status == 64
    assert f"{option.partition('=')[0]} is for a path" in said
    assert "--allow-user" in said


def test_key_of_the_file(folder: Path, name: str) -> None:
    """The file accepts socket = "@NAME"; an impossible name, also one with a zero byte, is named, with status 78."""
    config = folder / "upperd.toml"
    config.write_text(f'socket = "{name}"')
    with abstract(folder, name, command=[*COMMAND, "--config", str(config)]):
        assert ask(name, b"x") == b"X"
    for wrong in (r"@a\u0000b", "@"):
        config.write_text(f'socket = "{wrong}"')
        status, said = run_to_end(folder, "--config", str(config))
        assert (status, f"{config}: socket" in said) == (78, True)


def test_path_that_begins_so(folder: Path) -> None:
    """A path whose name begins with @ is written ./@NAME, for the daemon and for upperctl."""
    with running(folder, command=[*COMMAND, "--socket", "./@file"], cwd=folder):
        command = [*UPPERCTL, "--socket", "./@file", "send", "x"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, cwd=folder)
        assert done.stdout == "X\n"
        assert (folder / "@file").is_socket()


def test_background(name: str) -> None:
    """--daemonize, which makes every path absolute, leaves the name unchanged."""
    found = Settings(**vars(Options(socket=name, pid_file="relative")))
    daemonize._make_absolute(found, {"socket": name, "pid_file": "relative"})
    assert (found.socket, os.path.isabs(found.pid_file)) == (name, True)
    assert found.arguments[0] == f"--socket={name}"


def test_drain_serves_the_queue(folder: Path, name: str) -> None:
    """At SIGTERM the daemon serves the queued clients before it closes the socket, which frees the name."""
    with abstract(folder, name, "--max-children", "1") as daemon:
        with ExitStack() as stack:
            clients = [stack.enter_context(connect(name)) for _ in range(20)]
            for client in clients:
                client.sendall(b"queued")
                client.shutdown(socket.SHUT_WR)
            daemon.signal(signal.SIGTERM)
            assert [read_to_end(client) for client in clients] == [b"QUEUED"] * len(clients)
        assert daemon.wait() == 0
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
        client.connect(f"\0{name[1:]}")


def test_queue_outlives_the_daemon(folder: Path, name: str) -> None:
    """With --store-listeners the next daemon gets a killed daemon's listener, and serves the clients in its queue."""
    with abstract(folder, name, "--store-listeners") as daemon:
        stored, daemon.manager.stored = daemon.manager.stored, {}
        assert list(stored) == [f"bound.abstract.{name[1:].encode().hex()}"]
        daemon.kill()
        client = connect(name)
        client.sendall(b"queued")
        client.shutdown(socket.SHUT_WR)
    options = ("--socket", name, "--store-listeners", "--scoreboard", str(folder / "board"))
    more = activated(folder, list(stored.values()), *options, names=":".join(stored))
    with client, running(folder, **more) as daemon:
        assert read_to_end(client) == b"QUEUED"
        assert f"unix:{name} (bound, {OWN})" in daemon.log
    for listener in stored.values():
        listener.close()


def test_activated(folder: Path, name: str) -> None:
    """An abstract socket of a socket unit (ListenStream=@NAME) has the same rule; its name leads to its statistics."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name[1:]}")
        listener.listen()
        more = activated(folder, [listener], names="web")
        with running(folder, environ={"RUNTIME_DIRECTORY": str(folder)}, **more) as daemon:
            assert ask(name, b"x") == b"X"
            assert read(str(scoreboard_of(folder, name))).listeners == [f"unix:{name} (activated as web, {OWN})"]
            assert daemon.stop() == 0
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
