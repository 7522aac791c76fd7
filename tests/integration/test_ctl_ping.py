"""upperctl ping, version and status, with and without a real daemon."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from running import Daemon, running
from screens import CTL, terminal

from upperd import __version__
from upperd.base import installation
from upperd.server.layout import TEXT
from upperd.server.scoreboard import Scoreboard

LINE = re.compile(r"(\d+) bytes from \S+: seq=(\d+) time=(\d+\.\d{3}) ms")


def ctl(*arguments: str, **more: object) -> tuple[int, str, str]:
    """Run upperctl; return its exit status, standard output and standard error."""
    done = subprocess.run([*CTL, *arguments], capture_output=True, text=True, timeout=60, **more)  # type: ignore[call-overload]
    return done.returncode, done.stdout, done.stderr


def test_round_trips(daemon: Daemon) -> None:
    """ping prints a line for each round trip, on a new connection each time, and a summary."""
    status, printed, said = ctl("ping", "-c", "3", "-i", "0.02", "--socket", str(daemon.path))
    trips = LINE.findall(printed)
    assert (status, said, [number for _, number, _ in trips]) == (0, "", ["1", "2", "3"])
    assert {size for size, _, _ in trips} == {"17"}
    assert "3 sent, 3 answered, 0% loss" in printed
    times = sorted(float(time) for _, _, time in trips)
    least, mean, most, deviation = map(float, re.findall(r"mdev = ([\d.]+)/([\d.]+)/([\d.]+)/([\d.]+) ms", printed)[0])
    assert (least, most) == (times[0], times[-1])
    assert least <= mean <= most
    assert deviation == pytest.approx((sum(time**2 for time in times) / 3 - (sum(times) / 3) ** 2) ** 0.5, abs=0.005)
    assert daemon.board.header["connections"] == 3


def test_check_of_health(daemon: Daemon) -> None:
    """`ping -c 1 -q` exits with 0 while the daemon answers, and with 1 and the cause when it does not."""
    line = ["ping", "-c", "1", "-q", "--socket", str(daemon.path)]
    status, printed, said = ctl(*line)
    assert (status, said, LINE.search(printed)) == (0, "", None)
    daemon.stop()
    status, printed, said = ctl(*line)
    assert (status, "100% loss" in printed, "no socket at" in said) == (1, True, True)


@contextmanager
def listening(folder: Path, answer: bytes | None) -> Iterator[str]:
    """A listener that gives every connection this answer; with None it never accepts."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        listener.listen()

        def serve() -> None:
            with listener.accept()[0] as connection:
                connection.recv(100)
                connection.sendall(answer or b"")

        serving = threading.Thread(target=serve)
        if answer is not None:
            serving.start()
        yield str(folder / "s")
        if answer is not None:
            serving.join()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "no answer"),
        (b"", "the connection was closed without an answer"),
        (b"UPPERD PING \xc3\x9f 1\n", "wrong answer"),
        (b"\x1b[2J\n", r"wrong answer, b'\x1b[2J\n'"),
    ],
)
def test_lost(folder: Path, answer: bytes | None, reason: str) -> None:
    """A late, short or wrong answer counts as lost; its cause is named, and the answer is never printed raw."""
    with listening(folder, answer) as path:
        status, printed, _ = ctl("ping", "-c", "1", "-W", "0.5" if answer is None else "30", "--socket", path)
    assert (status, "1 sent, 0 answered, 100% loss" in printed) == (1, True)
    assert f"seq=1 lost: {reason}" in printed
    assert printed.replace("\n", "").isprintable()


def test_a_restart_is_survived(folder: Path) -> None:
    """While the daemon restarts ping goes on, reports the losses, and reports that the daemon answers again."""
    with terminal("ping", "-i", "0.1", "--socket", str(folder / "upperd.sock")) as ping:
        ping.wait_for("lost: no socket at", "lost: same reason")
        with running(folder):
            ping.wait_for(" bytes from ")
        answered = len(ping.raw)
        ping.wait_until(lambda screen: b" lost: " in ping.raw[answered:], "lost again")
        ping.press("\x03")
        assert ping.wait() == -signal.SIGINT
        assert re.search(rb"\d+ sent, \d+ answered, \d+(\.\d)?% loss", ping.raw)


def test_interrupted(daemon: Daemon) -> None:
    """Ctrl-C ends an endless ping with the summary and, as for every command, with 130 for a shell."""
    with terminal("ping", "-i", "0.1", "--socket", str(daemon.path)) as ping:
        ping.wait_for("seq=5 ")
        ping.press("\x03")
        assert ping.wait() == -signal.SIGINT
        assert "round trip min/avg/max/mdev" in "\n".join(ping.screen())
        assert b"Traceback" not in ping.raw


@pytest.mark.parametrize("options", [["-c", "0"], ["-c", "x"], ["-i", "0"], ["-W", "nan"], ["extra"]])
def test_wrong_line_of_ping(options: list[str]) -> None:
    """An invalid count or time is answered with status 64."""
    assert ctl("ping", *options)[0] == 64


def test_wrong_address(folder: Path) -> None:
    """An invalid address ends ping at once, with another status than a lack of answers."""
    status, _, said = ctl("ping", "--tcp", "nope")
    assert (status >= 64, "HOST:PORT" in said) == (True, True)


def test_versions(daemon: Daemon) -> None:
    """version prints the version of the program and of the daemon."""
    status, printed, _ = ctl("version", "--socket", str(daemon.path))
    assert (status, printed) == (0, f"upperctl {__version__}\nupperd {__version__} (running, pid {daemon.pid})\n")
    daemon.stop()
    assert f"not running; the last one was {__version__}" in ctl("version", "--socket", str(daemon.path))[1]


def test_versions_differ(daemon: Daemon) -> None:
    """If the running daemon has another version, version says so, and what to do."""
    with open(daemon.path.parent / "scoreboard", "r+b") as file:  # not truncated: the daemon has mapped it
        file.seek(TEXT)
        file.write(b"0.0.1\x1b\nunix:x\n\0")
    _, printed, _ = ctl("version", "--socket", str(daemon.path))
    assert "upperd 0.0.1\\x1b (running" in printed
    assert "the versions differ: the daemon was started before this version was installed" in printed
    assert installation.command("restart", "restart it") in printed


def test_versions_without_a_daemon(folder: Path) -> None:
    """version without a daemon says that none runs, and succeeds."""
    status, printed, _ = ctl("version", "--socket", str(folder / "s"))
    assert (status, printed.split("\n")[1].startswith("upperd: not running: no scoreboard at")) == (0, True)


@pytest.mark.parametrize("environ", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_status_on_a_terminal(daemon: Daemon, environ: dict[str, str]) -> None:
    """On a terminal status fits one screen and is coloured, unless NO_COLOR or a dumb terminal forbids it."""
    with terminal("status", "--socket", str(daemon.path), **environ) as status:
        assert status.wait() == 0
        screen = status.screen()
        assert f"upperd {__version__}: running (pid {daemon.pid}), ready" in screen[0]
        memory = r"\S+ [kM]B in 9 processes" if os.geteuid() == 0 else "unknown: only root may ask for it"
        assert re.match(f" +memory +{memory}", next(line for line in screen if "memory" in line))
        assert re.search(r"since +20\d\d-\d\d-\d\d \d\d:\d\d:\d\d; \d+s ago", "\n".join(screen))
        assert (b"\x1b[1;32m" in status.raw) == (not environ)
        assert (b"\x1b" in status.raw) == (not environ)


def test_status_of_a_killed_daemon(folder: Path) -> None:
    """A daemon whose lock is free counts as stopped, even if a process has its pid, and is shown in red."""
    Scoreboard(str(folder / "scoreboard")).describe("1", ["unix:x"], [])
    with terminal("status", "--socket", str(folder / "upperd.sock")) as status:
        assert status.wait() == 3
        assert "not running" in status.screen()[0]
        assert b"\x1b[1;31m" in status.raw
