"""upperctl hands no text to an impostor in the place of upperd."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from acting import OTHER, USER, need_root, said, start_as, tell
from running import DEADLINE, free_port
from tools import missing

from upperd.base import paths
from upperd.client import ClientError, finding, tcp
from upperd.client.client import exchange
from upperd.client.patience import Patience

ROOT = Path(__file__).parents[2]
IMPOSTOR = """
import os, select, socket, sys
where = sys.argv[1]
if where.isdigit():
    listener = socket.create_server(("127.0.0.1", int(where)))
else:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(where)
    os.chmod(where, 0o777)
    listener.listen()
print("listens", flush=True)
while listener in select.select([listener, 0], [], [])[0]:
    connection = listener.accept()[0]
    if text := connection.recv(100):
        print("got", text.decode(), flush=True)
        connection.sendall(text.upper())
    connection.close()
"""
"""Ends at the end of its standard input, and prints what it received."""

SEND = """
import os, sys
import importlib, socket, struct, pwd, grp
import upperd.ctl.transfer, upperd.ctl.send, upperd.ctl.output, upperd.ctl.waiting
import upperd.client.tcp, upperd.client.explaining
from upperd.base import paths
from upperd.ctl import main as ctl
import encodings.ascii, encodings.idna
from upperd.ctl.parser import COMMANDS, parse
for command in COMMANDS:
    parse([command])
uid, port, system = int(sys.argv[1]), sys.argv[2], sys.argv[3]
paths.FALLBACK_TCP, paths.SYSTEM_SOCKET = f"127.0.0.1:{port}", system
os.setgroups([]); os.setgid(uid); os.setuid(uid)
sys.argv[1:] = sys.argv[4:]
sys.exit(ctl.main())
"""
"""upperctl as another user, with a test address and path. (That user may be unable to import it.)"""


class Caller:
    """A user that runs upperctl without an address."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self.uid = USER + 500 + os.getpid() % 500
        self.default = Path(f"/tmp/upperd-{self.uid}")

    def run(self, *words: str, runtime: str = "") -> tuple[int, str, str]:
        """The exit status, standard output and standard error."""
        command = [sys.executable, "-c", SEND, str(self.uid), str(self.port), str(self._folder / "none"), *words]
        environ = {**os.environ, "XDG_RUNTIME_DIR": runtime, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, env=environ, input="")
        return done.returncode, done.stdout, done.stderr

    def make_default(self, owner: int, mode: int) -> Path:
        """The folder in /tmp where the caller's own daemon would be; returns the socket's path."""
        self.default.mkdir()
        os.chown(self.default, owner, owner)
        os.chmod(self.default, mode)
        return self.default / paths.SOCKET_NAME


@pytest.fixture
def caller(folder: Path) -> Iterator[Caller]:
    need_root()
    os.chmod(folder, 0o755)
    made = Caller(folder)
    yield made
    shutil.rmtree(made.default, ignore_errors=True)


@contextmanager
def impostor(uid: int, where: str) -> Iterator[list[str]]:
    """Another user's listener, and at the end what it received."""
    got: list[str] = []
    with start_as(uid, IMPOSTOR, where) as process:
        assert said(process) == "listens"
        yield got
        assert process.stdin is not None
        process.stdin.close()
        while line := said(process):
            got.append(line)


@pytest.mark.parametrize("owner", [OTHER, USER])
def test_tcp_impostor(caller: Caller, owner: int) -> None:
    """While the daemon is down, another user's listener on the fallback address gets no text: status 77."""
    with impostor(owner, str(caller.port)) as got:
        status, printed, complaint = caller.run("send", "secret")
    assert (status, printed, got) == (77, "", [])
    assert f"belongs to uid {owner}, not to upperd: nothing was sent" in complaint


@pytest.mark.parametrize("owner", ["root", "the caller"])
def test_tcp_daemon_is_trusted(caller: Caller, owner: str) -> None:
    """The fallback address is used if its listener belongs to root or to the caller."""
    with impostor(0 if owner == "root" else caller.uid, str(caller.port)) as got:
        assert caller.run("send", "text")[:2] == (0, "TEXT\n")
    assert "got text" in got


def test_folder_of_an_impostor(caller: Caller) -> None:
    """A /tmp/upperd-UID that another user made is skipped: it gets no text, and its statistics are not shown."""
    path = caller.make_default(OTHER, 0o777)
    (path.parent / "scoreboard").write_bytes(b"planted")
    with impostor(OTHER, str(path)) as got:
        assert caller.run("send", "secret")[0] == 69
        assert "planted" not in caller.run("status")[1]
        assert str(path) not in caller.run("status")[1]
    assert got == []


def test_socket_of_an_impostor_in_our_folder(caller: Caller) -> None:
    """A socket that another user put into the caller's own folder while it was open to all gets no text."""
    path = caller.make_default(caller.uid, 0o777)
    with impostor(OTHER, str(path)) as got:
        os.chmod(path.parent, 0o700)
        status, _, complaint = caller.run("send", "secret")
    assert status == 77
    assert f"{path} belongs to uid {OTHER}, not to upperd: nothing was sent" in complaint
    assert got == []


def test_runtime_folder_of_another(caller: Caller, folder: Path) -> None:
    """A runtime folder of another user, as su(1) may leave it in the environment, is skipped."""
    theirs = folder / "run" / "upperd"
    theirs.mkdir(parents=True)
    os.chown(theirs, OTHER, OTHER)
    with impostor(OTHER, str(theirs / paths.SOCKET_NAME)) as got:
        assert caller.run("send", "secret", runtime=str(folder / "run"))[0] == 69
    assert got == []


def test_own_daemon_is_found(caller: Caller) -> None:
    """upperctl asks the caller's own daemon in the caller's own folder."""
    with impostor(caller.uid, str(caller.make_default(caller.uid, 0o700))) as got:
        assert caller.run("send", "text")[:2] == (0, "TEXT\n")
    assert "got text" in got


def test_named_address_is_the_users_own_word(caller: Caller, folder: Path) -> None:
    """A listener given by --socket or --tcp is trusted."""
    path = folder / "open"
    path.mkdir()
    os.chmod(path, 0o777)
    with impostor(OTHER, str(path / "s")), impostor(OTHER, str(caller.port)):
        assert caller.run("--socket", str(path / "s"), "send", "text")[:2] == (0, "TEXT\n")
        assert caller.run("--tcp", f"127.0.0.1:{caller.port}", "send", "text")[:2] == (0, "TEXT\n")


FLICKER = """
import select, socket, sys
print("begins", flush=True)
while not select.select([0], [], [], 0)[0]:
    with socket.create_server(("::1", int(sys.argv[1])), family=socket.AF_INET6) as listener:
        if select.select([listener], [], [], 0.002)[0]:
            with listener.accept()[0] as connection:
                connection.settimeout(0.02)
                try:
                    if text := connection.recv(100):
                        print("got", text, flush=True)
                        connection.sendall(text.upper())
                except OSError:
                    pass
print("", flush=True)
"""
"""Opens the port on ::1 again and again, for an instant each."""


def _find_both(monkeypatch: pytest.MonkeyPatch, folder: Path, port: int) -> None:
    """A host without a daemon on any path, and a localhost that is ::1 first, then 127.0.0.1."""
    monkeypatch.setattr(paths, "FALLBACK_TCP", f"localhost:{port}")
    monkeypatch.setattr(paths, "SYSTEM_SOCKET", str(folder / "none"))
    monkeypatch.setattr(paths, "client_sockets", lambda *of_whom: [paths.SYSTEM_SOCKET])
    ends = [(socket.AF_INET6, 1, 6, "", ("::1", port, 0, 0)), (socket.AF_INET, 1, 6, "", ("127.0.0.1", port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *of_what: ends)


def test_impostor_comes_and_goes(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A user who repeatedly opens the port for an instant, beside root's daemon, gets no text."""
    need_root()
    if not socket.has_ipv6:
        missing("there is no IPv6")
    port = free_port()
    _find_both(monkeypatch, folder, port)
    answers = 0
    with impostor(0, str(port)), start_as(OTHER, FLICKER, str(port)) as flicker:
        assert said(flicker) == "begins"
        for number in range(300):
            try:
                with finding.connect(timeout=DEADLINE) as connection:
                    answers += exchange(connection, b"secret %d\n" % number, Patience(DEADLINE)).startswith(b"SECRET")
            except ClientError:  # it was alone, or closed at the wrong moment
                pass
        tell(flicker, "end")
        assert said(flicker) == ""
    assert answers > 0


def test_connection_that_nobody_has_accepted(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Until a connection is accepted its owner is unknown, although the kernel lists root: the client sends nothing."""
    port = free_port()
    _find_both(monkeypatch, folder, port)
    with socket.create_server(("127.0.0.1", port)) as listener:
        with pytest.raises(finding.ReplyTimeoutError, match="did not accept the connection in time: nothing"):
            finding.connect(timeout=0.1)
        with listener.accept()[0] as connection:
            assert connection.recv(100) == b""


def test_owner_that_cannot_be_known(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """If the kernel's table is unreadable no listener is trusted."""
    port = free_port()
    _find_both(monkeypatch, folder, port)
    monkeypatch.setattr(tcp, "_TABLES", dict.fromkeys(tcp._TABLES, str(folder / "none")))
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(finding.AccessError, match="cannot tell which user owns .*: nothing was sent"),
    ):
        finding.connect(timeout=DEADLINE)


def test_fallback_is_said(caller: Caller) -> None:
    """If the text goes over TCP, which the user did not name, standard error says so."""
    with impostor(0, str(caller.port)):
        status, printed, said_of = caller.run("send", "text")
    assert (status, printed) == (0, "TEXT\n")
    assert said_of.startswith(f"upperctl: no daemon on its socket: using 127.0.0.1:{caller.port}")


def test_no_fallback_where_it_was_refused(caller: Caller) -> None:
    """A client that may not use its own user's socket does not try TCP instead."""
    path = caller.make_default(caller.uid, 0o700)
    with impostor(0, str(path)), impostor(0, str(caller.port)) as got:
        os.chmod(path, 0o600)
        status, printed, complaint = caller.run("send", "secret")
        assert (status, printed) == (77, "")
        assert f"permission denied: {path} belongs to root:root, mode 0600" in complaint
    assert got == []


def test_status_needs_no_daemon_of_an_impostor(caller: Caller) -> None:
    """A scoreboard that is a link is not followed, even in the caller's own folder."""
    path = caller.make_default(caller.uid, 0o700)
    (path.parent / "scoreboard").symlink_to("/etc/passwd")
    status, printed, _ = caller.run("--socket", str(path), "status")
    assert status != 0
    assert "root:" not in printed
