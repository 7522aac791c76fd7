"""--socket @NAME: an abstract socket, which no file stands for, so that only rules say who may connect."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sdnotify
from acting import need, need_root, said, start_as
from running import (
    COMMAND,
    DEADLINE,
    Daemon,
    activated,
    ask_on,
    read_to_end,
    run_to_end,
    running,
    wait_until,
)
from users import ALICE, BOB, connect_as, is_served, needs_root

from upperd.client import AccessError, Client
from upperd.server.snapshot import read
from upperd.service import daemonize
from upperd.service.settings import Settings

UPPERCTL = [sys.executable, "-m", "upperd.ctl.main"]
PACKAGE = Path(__file__).parents[2] / "upperd"
PYTHON = "/usr/bin/python3"
"""One that everybody may execute."""
OWN = f"for root{'' if os.geteuid() == 0 else f' and uid {os.geteuid()}'} alone"
_numbers = itertools.count()


@pytest.fixture
def name() -> str:
    """A name that nobody else has, with what a path and a format would take for something else."""
    return f"@upperd/test %s.{os.getpid()}.{next(_numbers)}"


@contextmanager
def abstract(folder: Path, name: str, *options: str, **more: Any) -> Iterator[Daemon]:
    """A daemon at this name, whose scoreboard is in `folder`."""
    more = {"command": [*COMMAND, "--socket", name, *options], **more}
    with running(folder, environ={"RUNTIME_DIRECTORY": str(folder), **more.pop("environ", {})}, **more) as daemon:
        daemon.path = Path(name)  # users.connect_as knows what it is
        yield daemon


def connect(name: str) -> socket.socket:
    """A client's connection that does not wait for ever."""
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
    """A daemon of a user's own, and what makes a command that user's."""
    needs_root(folder)
    runtime = folder / "run"
    runtime.mkdir(0o700)
    os.chown(runtime, ALICE, ALICE)
    shutil.copytree(PACKAGE, folder / "lib/upperd", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(Path(str(sdnotify.__file__)).parent, folder / "lib/sdnotify")
    environ = {"XDG_RUNTIME_DIR": str(runtime), "PYTHONPATH": str(folder / "lib")}
    as_alice: dict[str, Any] = {"user": ALICE, "group": ALICE, "extra_groups": [], "cwd": "/"}
    command = [PYTHON, "-m", "upperd.service.cli", "--socket", name]
    with running(folder, command=command, environ=environ, **as_alice) as daemon:
        daemon.path = Path(name)
        yield daemon, {"env": {**os.environ, **environ}, **as_alice}


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
        (folder / "lib/psutil.py").write_text("raise ImportError")  # that of this Python need not be there
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
    Path(f"{board}.lock").unlink()
    assert (done.returncode, "not running" in done.stdout) == (3, True)


# Who may connect


def test_nobody_else_may_connect(folder: Path, name: str) -> None:
    """Without a rule only root and the daemon's own user are served; others are refused, counted and logged."""
    with of_alice(folder, name) as (daemon, _):
        answers = [serves(daemon, uid) for uid in (0, ALICE, BOB)]
        assert answers == [True, True, False]
        wait_until(lambda: f"deny: refused 1 connections: 1 for their user; the last of uid {BOB}" in daemon.log, "log")


def test_rules_take_its_place(folder: Path, name: str) -> None:
    """Where anybody is allowed by name the rules hold as everywhere; a deny-user alone lets nobody in."""
    needs_root(folder)
    with abstract(folder, name, "--deny-user", "4242") as daemon:
        assert not serves(daemon, BOB)
        assert f"unix:{name} (bound, {OWN})" in daemon.log
    with abstract(folder, name, "--allow-user", str(BOB)) as daemon:
        assert serves(daemon, BOB)
        assert not serves(daemon, 0)
        assert daemon.log.count(f"ready: upperd 0.1.0 on unix:{name} (bound) pid=") == 1


def test_rules_of_a_reload(folder: Path, name: str) -> None:
    """A reload that allows somebody opens the socket, one that allows nobody closes it to who is served, too."""
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
    """What goes for an abstract listener without a rule goes for it alone: a path beside it has its permissions."""
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
    """--inetd, too, serves only root and its own user where the connection was accepted from an abstract socket."""
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


# Its life


def test_already_running(folder: Path, name: str) -> None:
    """A second daemon at the name ends with status 75, says who has it, and harms nothing; later the name is free."""
    with abstract(folder, name) as daemon:
        status, said = run_to_end(folder, "--socket", name)
        assert status == 75
        assert f"already running (pid {daemon.pid} of uid {os.geteuid()}) on {name}" in said
        assert ask(name, b"x") == b"X"
        assert daemon.stop() == 0
    with abstract(folder, name):
        assert ask(name, b"x") == b"X"


def test_never_tcp_instead(folder: Path) -> None:
    """A name that cannot be is an error before anything is opened, and no reason to listen elsewhere."""
    for wrong in ("@", f"@{'x' * 108}"):
        status, said = run_to_end(folder, "--socket", wrong)
        assert status == 64
        assert f"socket is '{wrong}': " in said
    longest = f"@{os.getpid()}".ljust(108, "%")
    with abstract(folder, longest) as daemon:
        assert ask(longest, b"x") == b"X"
        assert read(str(scoreboard_of(folder, longest))).header["pid"] == daemon.pid


@pytest.mark.parametrize("option", ["socket-mode=0660", "socket-owner=root", "socket-group=root"])
def test_it_has_no_permissions(folder: Path, name: str, option: str) -> None:
    """Permissions of a path are refused for an abstract socket, with the name of what to say instead."""
    status, said = run_to_end(folder, "--socket", name, f"--{option}")
    assert status == 64
    assert f"{option.partition('=')[0]} is about a path" in said
    assert "--allow-user" in said


def test_key_of_the_file(folder: Path, name: str) -> None:
    """The file takes socket = "@NAME", and names a name that cannot be, a zero in it too, with status 78."""
    config = folder / "upperd.toml"
    config.write_text(f'socket = "{name}"')
    with abstract(folder, name, command=[*COMMAND, "--config", str(config)]):
        assert ask(name, b"x") == b"X"
    for wrong in (r"@a\u0000b", "@"):
        config.write_text(f'socket = "{wrong}"')
        status, said = run_to_end(folder, "--config", str(config))
        assert (status, f"{config}: socket is '@" in said) == (78, True)


def test_path_that_begins_so(folder: Path) -> None:
    """A path whose name begins with @ is had as ./@NAME, by the daemon and by upperctl."""
    with running(folder, command=[*COMMAND, "--socket", "./@file"], cwd=folder):
        command = [*UPPERCTL, "--socket", "./@file", "send", "x"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, cwd=folder)
        assert done.stdout == "X\n"
        assert (folder / "@file").is_socket()


def test_background(name: str) -> None:
    """--daemonize, which makes every path absolute, leaves the name as it is."""
    found = Settings()
    found.socket, found.pid_file = name, "relative"
    daemonize._make_absolute(found, {"socket": name, "pid_file": "relative"})
    assert (found.socket, os.path.isabs(found.pid_file)) == (name, True)
    assert shlex.split(found.arguments)[0] == f"--socket={name}"


def test_drain_serves_the_queue(folder: Path, name: str) -> None:
    """Who is queued when the daemon is told to end is served before the socket is closed, which frees the name."""
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
    """With --store-listeners a killed daemon's listener goes to the next one, and who waits in its queue is served."""
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
    """One that a socket unit passes (ListenStream=@NAME) has the same rule, and its statistics lie by its name."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name[1:]}")
        listener.listen()
        more = activated(folder, [listener], names="web")
        with running(folder, environ={"RUNTIME_DIRECTORY": str(folder)}, **more) as daemon:
            assert ask(name, b"x") == b"X"
            assert read(str(scoreboard_of(folder, name))).listeners == [f"unix:{name} (activated as web, {OWN})"]
            assert daemon.stop() == 0
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1


# The client

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
    """A stranger's abstract socket gets no text, though it was named: anybody may take a name before the daemon."""
    need_root()
    with start_as(BOB, IMPOSTOR, name) as process:
        assert said(process) == "listens"
        command = [*UPPERCTL, "--socket", name, "send", "secret"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
        assert (done.returncode, done.stdout) == (77, "")
        assert f"{name} belongs to uid {BOB}, who is not upperd" in done.stderr
        with pytest.raises(AccessError, match=f"belongs to uid {BOB}"):
            Client(name)
        assert [said(process), said(process)] == ["got b''", "got b''"]


def test_nobody_listens(name: str) -> None:
    """Where nobody has the name, the client says so, and that names are of one network; one that cannot be is named."""
    for words, complaint in (
        ([name], f"nobody listens on {name} in this network namespace"),
        ([f"@{'x' * 108}"], "has 108 bytes, it may have 107"),
    ):
        command = [*UPPERCTL, "--socket", *words, "send", "x"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
        assert (done.returncode, complaint in done.stderr) == (69, True)


def test_another_network(folder: Path, name: str) -> None:
    """From another network namespace it cannot be found."""
    need_root()
    need("unshare")
    with abstract(folder, name):
        command = ["unshare", "--net", *UPPERCTL, "--socket", name, "send", "x"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
        assert (done.returncode, f"nobody listens on {name}" in done.stderr) == (69, True)


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
