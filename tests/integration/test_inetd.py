"""`upperd --inetd`: the one connection that somebody else accepted, served to its end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import COMMAND, DEADLINE, activated, ask_on, is_full, read_exactly, read_to_end, running, wait_until

INETD = [*COMMAND, "--inetd"]
FAMILIES = pytest.mark.parametrize("family", ["unix", "tcp"])


def connection(family: str) -> tuple[socket.socket, socket.socket]:
    """A client's end that does not wait for ever, and the end that a super-server would have accepted."""
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
        """Its exit status, and what it logged."""
        return self.process.wait(DEADLINE), self._log.read_text()

    def ask(self, text: bytes) -> bytes:
        """Ask, and leave the connection open: from now on it is served."""
        self.client.sendall(text)
        return read_exactly(self.client, len(text))


@contextlib.contextmanager
def serving(folder: Path, family: str, *options: str, **popen: Any) -> Iterator[Service]:
    """A super-server's work: the connection as standard input. The log is in `folder`/log."""
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


@FAMILIES
def test_connection_is_served_to_its_end(folder: Path, family: str) -> None:
    """A question, half-closed, is answered to the last byte; the process ends with status 0 and one record."""
    with serving(folder, family) as service:
        assert ask_on(service.client, "straße \xff".encode()) == "STRASSE \u0178".encode()
        status, log = service.wait()
    assert (status, log.count("\n")) == (0, 1)
    uid = f"peer_uid={os.geteuid()}"
    assert [part for part in ("end: child", uid, "bytes_in=10", "outcome=done", "exit=0") if part not in log] == []


@FAMILIES
def test_end_comes_while_somebody_else_holds_the_connection(folder: Path, family: str) -> None:
    """The client reads the end of its answer even where who accepted the connection keeps it, as systemd does."""
    client, accepted = connection(family)
    with client, accepted, open(folder / "log", "wb") as log:
        process = subprocess.Popen(INETD, stdin=accepted, stderr=log)
        assert ask_on(client, b"held") == b"HELD"
        assert process.wait(DEADLINE) == 0


@FAMILIES
def test_answers_come_while_the_client_asks(folder: Path, family: str) -> None:
    """Every chunk is answered before the next is sent."""
    with serving(folder, family) as service:
        assert [service.ask(b"chunk %d" % number) for number in range(50)] == [b"CHUNK %d" % n for n in range(50)]


@FAMILIES
def test_ten_megabytes(folder: Path, family: str) -> None:
    """A stream that no buffer holds comes back whole, in order."""
    text = b"".join(b"line %d\n" % number for number in range(900_000))
    with serving(folder, family) as service:
        sending = threading.Thread(target=lambda: (service.client.sendall(text), service.client.shutdown(1)))
        sending.start()
        answer = read_to_end(service.client)
        sending.join()
        assert service.wait()[0] == 0
    assert len(text) > 10_000_000
    assert answer == text.upper()


@FAMILIES
def test_transfer_under_way_is_finished(folder: Path, family: str) -> None:
    """An upload that goes on after SIGTERM is served to its end of file."""
    with serving(folder, family) as service:
        assert service.ask(b"begin") == b"BEGIN"
        service.process.terminate()
        for _ in range(200):
            assert service.ask(b"x" * 10_000) == b"X" * 10_000
        assert ask_on(service.client, b"end") == b"END"
        status, log = service.wait()
    assert (status, "outcome=done" in log) == (0, True)


@FAMILIES
def test_quiet_connection_is_ended(folder: Path, family: str) -> None:
    """SIGTERM ends a connection on which nothing is under way, with status 0."""
    with serving(folder, family) as service:
        assert service.ask(b"x") == b"X"
        service.process.terminate()
        assert read_to_end(service.client) == b""
        status, log = service.wait()
    assert (status, "outcome=quiet" in log) == (0, True)


@FAMILIES
@pytest.mark.parametrize("how", ["deadline", "second signal"])
def test_cut(folder: Path, family: str, how: str) -> None:
    """At the deadline, or a second SIGTERM, a transfer is cut: of a Unix client every byte taken is answered."""
    with serving(folder, family, "--drain-timeout", "0.5" if how == "deadline" else "60") as service:
        assert service.ask(b"x") == b"X"
        service.process.terminate()
        if how == "second signal":
            assert service.ask(b"y") == b"Y"  # the first one has been taken: signals that wait are one
            service.process.terminate()
        sent, received = _talk_until_refused(service.client)
        status, log = service.wait()
    assert (status, "was cut at the drain deadline" in log) == (0, True)
    assert received == sent or (family == "tcp" and received < sent)


def _talk_until_refused(client: socket.socket) -> tuple[int, int]:
    """Never be quiet: bytes that the kernel took, bytes answered."""
    sent = received = 0
    with contextlib.suppress(ConnectionError):
        while True:
            sent += client.send(b"x" * 100)
            block = client.recv(65536)
            received += len(block)
            if not block:
                break
    with contextlib.suppress(ConnectionError):
        received += len(read_to_end(client))
    return sent, received


def test_client_that_never_reads(folder: Path) -> None:
    """A client that sends and never reads holds the process up to the deadline and two seconds, no longer."""
    with serving(folder, "unix", "--drain-timeout", "0.1") as service:
        assert service.ask(b"x") == b"X"
        service.client.setblocking(False)
        wait_until(lambda: is_full(service.client), "every buffer is full")
        service.process.terminate()
        status, log = service.wait()
    assert (status, "was killed at the drain deadline" in log) == (0, True)


def test_signal_at_any_moment(folder: Path) -> None:
    """SIGTERM before, at, or after the first read ends an idle process by that signal or in order, never late."""
    with contextlib.ExitStack() as stack:
        services = []
        for moment in range(12):
            (folder / str(moment)).mkdir()
            services.append(service := stack.enter_context(serving(folder / str(moment), "unix")))
            if moment % 3:
                assert service.ask(b"x") == b"X"
            with contextlib.suppress(subprocess.TimeoutExpired):
                service.process.wait(0.02 * moment)
            service.process.terminate()
        # Those in a connection end after a second of quiet: all of them in the same one.
        for service in services:
            status, log = service.wait()
            assert status in (0, -signal.SIGTERM)
            assert "Traceback" not in log


@FAMILIES
def test_peer_that_goes_away(folder: Path, family: str) -> None:
    """A client that leaves without reading its answer is no error."""
    with serving(folder, family) as service:
        assert service.ask(b"x") == b"X"
        service.client.setblocking(False)
        wait_until(lambda: is_full(service.client), "every buffer is full")
        service.client.close()
        status, log = service.wait()
    assert (status, "outcome=reset" in log, "Error" in log) == (0, True, False)


def test_peer_that_is_gone_already(folder: Path) -> None:
    """A TCP client that has reset its connection before the process began is no error."""
    client, accepted = connection("tcp")
    with accepted:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        done = subprocess.run(INETD, stdin=accepted, capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, "served 1 of unknown peer, 0 B" in done.stderr) == (0, True)


@pytest.mark.parametrize("options", [(), ("--bogus",), ("--log-level", "debug")])
def test_nothing_but_answers_reaches_the_client(folder: Path, options: tuple[str, ...]) -> None:
    """Where the connection is standard output and error, too, no log, error or help is written to it."""
    client, accepted = connection("unix")
    with client, accepted:
        with subprocess.Popen([*INETD, *options], stdin=accepted, stdout=accepted, stderr=accepted) as process:
            accepted.close()
            if options != ("--bogus",):
                assert ask_on(client, b"x") == b"X"
            assert read_to_end(client) == b""
        assert process.returncode == (64 if options == ("--bogus",) else 0)


def test_log_level(folder: Path) -> None:
    """The record of an ordinary end is left out where only warnings are logged."""
    with serving(folder, "unix", "--log-level", "warning") as service:
        assert ask_on(service.client, b"x") == b"X"
        assert service.wait() == (0, "")


def _unconnected(path: Path, kind: int, *, listens: bool = False) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, kind)
    if listens:
        sock.bind(str(path))
        sock.listen()
    return sock


def _wrong_input(kind: str, folder: Path) -> tuple[Any, ...]:
    """What stands for standard input, first of all that is to be closed."""
    if kind == "terminal":
        return tuple(os.fdopen(number, "rb", buffering=0) for number in reversed(os.openpty()))
    if kind == "pipe":
        return tuple(os.fdopen(number, mode) for number, mode in zip(os.pipe(), "rw", strict=True))
    if kind == "datagram":
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    if kind in ("listening", "unconnected"):
        return (_unconnected(folder / "s", socket.SOCK_STREAM, listens=kind == "listening"),)
    return (open(os.devnull if kind == "device" else __file__),)


@pytest.mark.parametrize(
    ("kind", "status", "named"),
    [
        ("terminal", 64, "is a terminal"), ("file", 64, "is a file"), ("pipe", 64, "is a pipe"),
        ("device", 64, "is a device"), ("listening", 78, "is a listening socket (Accept=no"),
        ("datagram", 78, "is not a stream socket but SOCK_DGRAM"), ("unconnected", 78, "is not connected"),
    ],
)  # fmt: skip
def test_standard_input_is_no_connection(folder: Path, kind: str, status: int, named: str) -> None:
    """What is not a connected stream socket is named in one line, with what to do, and its exit status."""
    with contextlib.ExitStack() as until:
        files = [until.enter_context(file) for file in _wrong_input(kind, folder)]
        done = subprocess.run(INETD, stdin=files[0], capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == status
    assert f"upperd: standard input {named}" in done.stderr
    assert "a socket unit with Accept=yes" in done.stderr


def test_standard_input_is_closed() -> None:
    """Without any standard input the error says so, with status 64."""
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *INETD]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, "standard input is closed" in done.stderr) == (64, True)


@pytest.mark.parametrize(
    "words", [["--socket", "x"], ["--tcp", "localhost:1"], ["--max-children", "2"], ["--pid-file", "x"]]
)
def test_options_without_meaning_are_refused(words: list[str]) -> None:
    """An option about listening or children is refused by its name, with the reason and status 64."""
    done = subprocess.run([*INETD, *words], capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 64
    assert f"{words[0]} has no meaning with --inetd: there is no listener and no child" in done.stderr


def test_config_file_of_the_daemon_does(folder: Path) -> None:
    """The daemon's own file may be given: what is about listening there is left alone."""
    (folder / "c.toml").write_text('socket = "/x/y"\nmax-children = 3\nlog-level = "error"\n')
    with serving(folder, "unix", "--config", str(folder / "c.toml")) as service:
        assert ask_on(service.client, b"x") == b"X"
        assert service.wait() == (0, "")


def test_accept_without_standard_input(folder: Path) -> None:
    """A connection passed as systemd passes sockets (Accept=yes) is served, and the manager told READY=1."""
    client, accepted = connection("unix")
    with client, accepted, running(folder, **activated(folder, [accepted], "--inetd", names="connection")) as service:
        accepted.close()
        assert ask_on(client, b"x") == b"X"
        assert service.wait() == 0


def test_passed_connection_points_to_inetd(folder: Path) -> None:
    """A daemon that is passed a connection names the option that serves it."""
    client, accepted = connection("unix")
    arguments = activated(folder, [accepted], names="connection")
    with client, accepted, running(folder, ready=False, **arguments) as daemon:
        assert daemon.wait() == 78
        assert "for a connection, start it with --inetd" in daemon.log


def test_several_passed_sockets_are_refused(folder: Path) -> None:
    """Two sockets are not one connection: status 78."""
    one, two = socket.socketpair()
    with one, two, running(folder, ready=False, **activated(folder, [one, two], "--inetd")) as service:
        assert service.wait() == 78
        assert "2 sockets were passed" in service.log


@FAMILIES
@pytest.mark.parametrize("inetd", ["--inetd", ""])
def test_systemd_socket_activate(folder: Path, family: str, inetd: str) -> None:
    """Under systemd's own tool, one process for each connection, with or without standard input, all are answered."""
    tool = shutil.which("systemd-socket-activate")
    if tool is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no systemd-socket-activate: apt-get install systemd")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    address = str(folder / "s") if family == "unix" else ("127.0.0.1", port)
    where = str(folder / "s") if family == "unix" else f"127.0.0.1:{port}"
    command = [tool, "-l", where, "--accept", *([inetd] if inetd else []), *INETD]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        clients = [wait_until(lambda: _connect(family, address), "systemd-socket-activate listens") for _ in range(5)]
        assert [ask_on(client, b"x") for client in clients] == [b"X"] * 5
        for client in clients:
            client.close()
        wait_until(lambda: (folder / "log").read_text().count("outcome=done") == 5, "five ends are logged")
    finally:
        process.terminate()
        process.wait()


def _connect(family: str, address: Any) -> socket.socket | None:
    client = socket.socket(socket.AF_UNIX if family == "unix" else socket.AF_INET)
    client.settimeout(DEADLINE)
    try:
        client.connect(address)
    except OSError:
        client.close()
        return None
    return client


@pytest.mark.parametrize(
    ("option", "sent", "answer", "outcome"),
    [
        (("--deny-user", str(os.geteuid())), b"", b"", "refused"),
        (("--max-bytes", "3"), b"abcdef", b"ABC", "bytes"),
        (("--idle-timeout", "0.5"), b"a\xc3", b"A\xc3", "idle"),
        (("--max-lifetime", "0.5"), b"a\xc3", b"A\xc3", "lifetime"),
        (("--idle-timeout", "1.5"), b"a\xc3", b"A\xc3", "idle"),  # longer than the pulse
        (("--max-lifetime", "1.5"), b"a\xc3", b"A\xc3", "lifetime"),
    ],
)
def test_rules_and_limits(option: tuple[str, str], sent: bytes, answer: bytes, outcome: str) -> None:
    """The rules and the limits of a connection hold for one that somebody else has accepted, too."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(DEADLINE)
        ours.sendall(sent)
        command = [*COMMAND, "--inetd", "--log-level", "debug", *option]
        process = subprocess.Popen(command, stdin=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        theirs.close()
        assert read_to_end(ours) == answer
        _, said = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert f"outcome={outcome}" in said
    if outcome == "refused":
        assert f"deny: refused 1 connections: 1 for their user; the last of uid {os.geteuid()}" in said
