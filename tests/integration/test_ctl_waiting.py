"""upperctl says why no answer comes: what it waits for, when it gives up, and who refuses it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from running import DEADLINE, Daemon, running, wait_until
from screens import terminal
from test_ctl import CTL, ctl

FULL = ("--max-children", "1", "--spare-children", "1")


def test_wait_on_a_terminal(folder: Path) -> None:
    """On a terminal `send` says after two seconds what it waits for, and still gets its answer."""
    with (
        running(folder, *FULL) as daemon,
        daemon.held() as held,
        terminal("send", "--socket", str(daemon.path), "text", columns=200) as send,
    ):
        send.wait_for("waiting for an answer: every child is busy, 1 wait; 'upperctl status' shows more")
        held.close()
        send.wait_for("TEXT")
        assert send.wait() == 0


@pytest.mark.parametrize("data", [None, b"text\n"], ids=["words", "stream"])
def test_time_limit(folder: Path, data: bytes | None) -> None:
    """`--timeout` ends a wait for an answer with status 75, and says why none came."""
    words = ["text"] if data is None else []
    with running(folder, *FULL) as daemon, daemon.held():
        status, printed, said = ctl("send", "--timeout", "2", "--socket", str(daemon.path), *words, data=data)
    assert (status, printed) == (75, "")
    assert said.startswith("upperctl: no answer in 2 s: every child is busy, 1 wait")


def test_time_limit_of_ping(folder: Path) -> None:
    """`ping --timeout` limits each round trip; an answer that takes longer is lost."""
    with running(folder, *FULL) as daemon, daemon.held():
        status, printed, _ = ctl("ping", "-c", "1", "--timeout", "0.3", "--socket", str(daemon.path))
    assert (status, "seq=1 lost: no answer in 0.3 s: every child is busy" in printed) == (1, True)


def test_quiet_stream_has_no_limit(daemon: Daemon) -> None:
    """The time-out runs only while an answer is due: a stream may be quiet for longer."""
    command = [*CTL, "--socket", str(daemon.path), "send", "--timeout", "4"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as send:
        assert send.stdin is not None
        assert send.stdout is not None
        send.stdin.write(b"one\n")
        send.stdin.flush()
        assert send.stdout.readline() == b"ONE\n"
        child = stop_child(daemon)
        time_passes(4.5)
        send.stdin.write(b"two\n")
        send.stdin.flush()
        time_passes(0.5)  # the answer is late, and in time
        os.kill(child, signal.SIGCONT)
        assert send.stdout.readline() == b"TWO\n"
        send.stdin.close()
        assert send.wait(DEADLINE) == 0


def stop_child(daemon: Daemon) -> int:
    """Stop the busy child, for which a drain waits some six seconds: until a second of quiet, and a kill. Its pid."""
    [child] = [row["pid"] for row in daemon.board.children if not row["waiting"]]
    os.kill(child, signal.SIGSTOP)
    return int(child)


def time_passes(seconds: float) -> None:
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > seconds, "time passes")


def test_drain(folder: Path) -> None:
    """During a drain `send` says how long it lasts, with status 75, rather than that there is no daemon."""
    with running(folder, "--drain-timeout", "20") as daemon, daemon.held():
        stop_child(daemon)
        daemon.signal(signal.SIGTERM)
        wait_until(lambda: not daemon.path.exists(), "it takes no more")
        status, _, said = ctl("send", "--socket", str(daemon.path), "text")
    assert (status, said.startswith("upperctl: no new connection: draining, try again in ")) == (75, True)


@pytest.mark.parametrize("line", [["send", "x"], ["send"], ["ping", "-c", "1"]], ids=" ".join)
def test_refused(folder: Path, line: list[str]) -> None:
    """A peer that the rules refuse is told so, with status 77."""
    with running(folder, "--deny-user", str(os.geteuid())) as daemon:
        status, _, said = ctl(*line, "--socket", str(daemon.path), data=b"x\n")
    assert (status, f"the rules of the daemon refuse uid {os.geteuid()}" in said) == (77, True)


def test_refused_and_not_told_why(folder: Path) -> None:
    """If the scoreboard is unreadable, a refused peer is told of the refusal, and that the reason is unknown."""
    with running(folder, "--deny-user", str(os.geteuid())) as daemon:
        (folder / "scoreboard").unlink()
        status, _, said = ctl("send", "--socket", str(daemon.path), "x")
    assert (status, f"closed at once: the daemon refuses uid {os.geteuid()}, by a rule or a limit" in said) == (
        77,
        True,
    )


def test_refused_for_a_while(folder: Path) -> None:
    """Refusal by a limit that ends later has status 75."""
    with running(folder, "--max-rate-per-user", "0.01") as daemon:
        said = [ctl("send", "--socket", str(daemon.path), "x") for _ in range(3)]
    assert (75, "", f"upperctl: uid {os.geteuid()} connects more often than one user may: try again later\n") in said


def test_what_is_no_socket(folder: Path) -> None:
    """upperctl says what lies at a path that is no stream socket; it does not advise --socket if that was given."""
    (folder / "file").touch()
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(str(folder / "datagrams"))
        said = {
            name: ctl("send", "--socket", str(folder / name), "x")
            for name in ("file", "pipe", ".", "datagrams", "none")
        }
    assert {status for status, _, _ in said.values()} == {69}
    for name, text in (
        ("file", "is a file, not a socket: name upperd's socket"),
        ("pipe", "is a pipe, not a socket"),
        (".", "is a folder, not a socket"),
        ("datagrams", "is not a stream socket"),
        ("none", f"start upperd (upperd --socket {folder}/none), or correct the path"),
    ):
        assert text in said[name][2]
        assert "name it with --socket" not in said[name][2]


@pytest.mark.parametrize("host", ["x..y", "no such host", "a\udcff"])
def test_host_that_is_none(host: str) -> None:
    """An unresolvable host is named as the fault, without an error number."""
    status, _, said = ctl("send", "--tcp", f"{host}:1", "x")
    assert (status, "cannot resolve" in said, "[Errno" in said, "Traceback" in said) == (
        69,
        True,
        False,
        False,
    )


def test_dash_is_standard_input(daemon: Daemon) -> None:
    """`send -` sends standard input, as filters do; after -- it is a text."""
    assert ctl("--socket", str(daemon.path), "send", "-", data=b"text") == (0, "TEXT", "")
