"""`upperd --inetd`: one connection that another program accepted, served to its end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from running import COMMAND, DEADLINE, ask_on, is_full, read_to_end, wait_until
from super_servers import FAMILIES, INETD, connection, serving


@FAMILIES
def test_connection_is_served_to_its_end(folder: Path, family: str) -> None:
    """A question and a half-close are answered to the last byte; the process ends with status 0 and one record."""
    with serving(folder, family) as service:
        assert ask_on(service.client, "straße \xff".encode()) == "STRASSE \u0178".encode()
        status, log = service.wait()
    assert (status, log.count("\n")) == (0, 1)
    uid = f"peer_uid={os.geteuid()}"
    assert [part for part in ("end: child", uid, "bytes_in=10", "outcome=done", "exit=0") if part not in log] == []


@FAMILIES
def test_end_comes_while_another_process_holds_the_connection(folder: Path, family: str) -> None:
    """The client reads the end of its answer even if the accepting program keeps the connection, as systemd does."""
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
    """A stream larger than any buffer comes back whole, in order."""
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
    """An upload that continues after SIGTERM is served to its end of file."""
    with serving(folder, family) as service:
        assert service.ask(b"begin") == b"BEGIN"
        service.process.terminate()
        for _ in range(20):
            assert service.ask(b"x" * 10_000) == b"X" * 10_000
        assert ask_on(service.client, b"end") == b"END"
        status, log = service.wait()
    assert (status, "outcome=done" in log) == (0, True)


@FAMILIES
def test_quiet_connection_is_ended(folder: Path, family: str) -> None:
    """SIGTERM ends a quiet connection with status 0."""
    with serving(folder, family) as service:
        assert service.ask(b"x") == b"X"
        service.process.terminate()
        assert read_to_end(service.client) == b""
        status, log = service.wait()
    assert (status, "outcome=quiet" in log) == (0, True)


@FAMILIES
@pytest.mark.parametrize("how", ["deadline", "second signal"])
def test_cut(folder: Path, family: str, how: str) -> None:
    """At the deadline, or a second SIGTERM, a transfer is cut; a Unix client has every byte taken answered."""
    with serving(folder, family, "--drain-timeout", "0.5" if how == "deadline" else "60") as service:
        assert service.ask(b"x") == b"X"
        with ThreadPoolExecutor(1) as beside:  # so that the drain never takes it for quiet
            talk = beside.submit(_talk_until_refused, service.client)
            service.process.terminate()
            if how == "second signal":
                wait_until(lambda: _has_taken_signals(service.process.pid), "the first is taken: two that wait are one")
                service.process.terminate()
            sent, received = talk.result(DEADLINE)
        status, log = service.wait()
    assert (status, "was cut at the drain deadline" in log) == (0, True)
    assert received == sent or (family == "tcp" and received < sent)


def _has_taken_signals(pid: int) -> bool:
    """Whether a process sleeps without a pending signal (proc(5), status)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return status["State"].startswith("S") and int(status["ShdPnd"], 16) == 0


def _talk_until_refused(client: socket.socket) -> tuple[int, int]:
    """Keep sending; return the bytes that the kernel took, and those answered."""
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
    """A client that sends and never reads delays the process to two seconds past the deadline, no longer."""
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
        # A connection ends after a second of quiet: all of them in the same one.
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
    """A TCP client that reset its connection before the process began is no error."""
    client, accepted = connection("tcp")
    with accepted:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        done = subprocess.run(INETD, stdin=accepted, capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, "served 1 of unknown peer, 0 B" in done.stderr) == (0, True)


@pytest.mark.parametrize("options", [(), ("--bogus",), ("--log-level", "debug")])
def test_nothing_but_answers_reaches_the_client(folder: Path, options: tuple[str, ...]) -> None:
    """If the connection is standard output and error, too, no log, error or help is written to it."""
    client, accepted = connection("unix")
    with client, accepted:
        with subprocess.Popen([*INETD, *options], stdin=accepted, stdout=accepted, stderr=accepted) as process:
            accepted.close()
            if options != ("--bogus",):
                assert ask_on(client, b"x") == b"X"
            assert read_to_end(client) == b""
        assert process.returncode == (64 if options == ("--bogus",) else 0)


def test_log_level(folder: Path) -> None:
    """The record of an ordinary end is left out if only warnings are logged."""
    with serving(folder, "unix", "--log-level", "warning") as service:
        assert ask_on(service.client, b"x") == b"X"
        assert service.wait() == (0, "")


@pytest.mark.parametrize(
    ("option", "sent", "answer", "outcome"),
    [
        (("--deny-user", str(os.geteuid())), b"", b"", "refused"),
        (("--max-bytes", "3"), b"abcdef", b"ABC", "bytes"),
        (("--idle-timeout", "0.5"), b"a\xc3", b"A\xc3", "idle"),
        (("--max-lifetime", "0.5"), b"a\xc3", b"A\xc3", "lifetime"),
        (("--idle-timeout", "1.5"), b"a\xc3", b"A\xc3", "idle"),
        (("--max-lifetime", "1.5"), b"a\xc3", b"A\xc3", "lifetime"),
    ],
)
def test_rules_and_limits(option: tuple[str, str], sent: bytes, answer: bytes, outcome: str) -> None:
    """The daemon's rules and connection limits also hold for a connection that another program accepted."""
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
    if outcome != "refused":
        assert f"outcome={outcome}" in said
    else:  # no child was needed
        assert " end: " not in said
        assert f"deny: refused 1 connection: 1 by the access rules; the last from uid {os.geteuid()}" in said
