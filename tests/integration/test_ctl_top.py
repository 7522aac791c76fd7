"""upperctl top on a real terminal."""

from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running import Daemon, running
from screens import CTL, terminal

from upperd import __version__

FRAME = b"\x1b[H"
"""The beginning of every picture."""
LEFT = (b"\x1b[?1049l", b"\x1b[?25h")
"""Sequences that return to the first screen, and show the cursor."""


def pids(screen: list[str]) -> list[int]:
    """The pids in the table, in its order."""
    return [int(found[1]) for found in (re.match(r" *(\d+) (?:busy|spare)", line) for line in screen) if found]


def test_a_child_is_a_row(daemon: Daemon) -> None:
    """On 80x24, top shows the daemon, every child in a row, its peer's user, and rates; nothing is cut off."""
    with terminal("top", "--socket", str(daemon.path), "--interval", "0.2") as top, daemon.held():
        screen = top.wait_for("ready", "1 busy, 8 spare", "1-9 of 9")
        assert screen[0].startswith(f"● upperd {__version__}: running (pid {daemon.pid}), ready, up ")
        assert sorted(pids(screen)) == sorted(daemon.children())
        row = next(line.split() for line in screen if re.match(r" *\d+ busy", line))
        assert row[2][:7] == pwd.getpwuid(os.getuid()).pw_name[:7]
        memory = "PSS" if os.geteuid() == 0 else "RSS"
        names = ["PID", "STATE", "USER", "RATE/s", "CPU%", memory, "CONNS", "MSGS", "IN", "OUT"]
        assert screen[8].split() == names
        assert all(line and not line.endswith("…") for line in screen[:14] if line != screen[7])
        daemon.ask(b"x" * 100_000)
        top.wait_until(lambda screen: "▇" in screen[4] + screen[5] or "█" in screen[4] + screen[5], "the rates rise")


@pytest.mark.parametrize("way", ["q", "\x03", "SIGTERM"])
def test_the_terminal_is_left_as_it_was(daemon: Daemon, way: str) -> None:
    """However top ends, with q, Ctrl-C or a signal, the terminal is restored."""
    with terminal("top", "--socket", str(daemon.path)) as top:
        top.wait_for("ready")
        assert not top.is_as_before()
        if way == "SIGTERM":
            top.process.terminate()
        else:
            top.press(way)
        assert top.wait() in {"q": [0], "\x03": [130, -signal.SIGINT], "SIGTERM": [143]}[way]
        assert top.is_as_before()
        assert [sequence for sequence in LEFT if sequence not in top.raw] == []
        assert b"Traceback" not in top.raw


SHELL = """
import os, signal, sys, termios
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
modes = termios.tcgetattr(0)
child = os.fork()
if not child:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
os.waitpid(child, os.WUNTRACED)
os.tcsetpgrp(0, os.getpid())
print("given back" if termios.tcgetattr(0) == modes else "kept", flush=True)
input()
os.tcsetpgrp(0, child)
os.kill(child, signal.SIGCONT)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
"""Does what a shell does with a program that Ctrl-Z stops, and then `fg`."""


def test_stopped_and_continued(daemon: Daemon) -> None:
    """Ctrl-Z restores the terminal; when continued, top draws again."""
    line = [*CTL, "top", "--socket", str(daemon.path), "--interval", "0.2"]
    with terminal(command=[sys.executable, "-c", SHELL, *line]) as top:
        top.wait_for("ready")
        top.press("\x1a")
        top.wait_for("given back")
        stopped = len(top.raw)
        assert [sequence for sequence in LEFT if sequence not in top.raw] == []
        top.press("\n")
        top.wait_until(lambda screen: b"\x1b[?1049h" in top.raw[stopped:] and "ready" in screen[0], "it draws again")
        top.press("q")
        assert (top.wait(), top.is_as_before()) == (0, True)


def test_sorting(daemon: Daemon) -> None:
    """The rows are sorted by the chosen field, and keys choose another field, or reverse the order."""
    with terminal("top", "--socket", str(daemon.path), "--sort", "pid", "--interval", "0.2") as top:
        rows = sorted(daemon.children())
        top.wait_until(lambda screen: pids(screen) == rows, "sorted by pid")
        top.press("r")
        top.wait_until(lambda screen: pids(screen) == rows[::-1], "the other way round")
        with daemon.held():
            busy = next(child["pid"] for child in daemon.board.children if not child["waiting"])
            top.press("\x1b[C")
            top.wait_until(lambda screen: pids(screen)[:1] == [busy], "by state: the busy one first")


def test_scrolling(folder: Path) -> None:
    """With more children than lines the others are a key away, and scrolling skips none."""
    options = ("--socket", str(folder / "upperd.sock"), "--sort", "pid", "--interval", "0.2")
    with running(folder, "--spare-children", "40") as daemon, terminal("top", *options) as top:
        first = pids(top.wait_for("1-14 of 40"))
        top.press("j")
        second = pids(top.wait_for("2-15 of 40"))
        assert second[:-1] == first[1:]
        top.press("\x1b[6~\x1b[6~\x1b[6~")
        last = pids(top.wait_for("27-40 of 40"))
        assert last == sorted(daemon.children())[-14:]


@pytest.mark.parametrize(("columns", "lines"), [(40, 10), (20, 6), (200, 50)])
def test_size_changes(daemon: Daemon, columns: int, lines: int) -> None:
    """top redraws at once when the window is resized, and nothing crosses its edges."""
    with terminal("top", "--socket", str(daemon.path), "--interval", "3000") as top:
        top.wait_until(lambda screen: top.raw.count(FRAME) > 2, "the second look: none follows for a while")
        top.set_size(columns, lines)
        drawn = len(top.raw)
        screen = top.wait_until(lambda screen: len(top.raw) > drawn and screen[0] != "", "drawn again")
        assert [line[:4] for line in screen[:5]] == ["● up", "list", "chil", "queu", "conn"]
        if lines >= 10:
            top.wait_until(lambda screen: screen[-1].endswith("of 8"), "the last line is at the bottom")


def test_a_daemon_that_comes_and_goes(folder: Path) -> None:
    """A daemon that stops is shown as stopped, with its last figures, and its successor is found."""
    with terminal("top", "--socket", str(folder / "upperd.sock"), "--interval", "0.2") as top:
        top.wait_for("not running", "no scoreboard at", "start the daemon (")
        for _ in range(2):
            with running(folder) as daemon:
                daemon.ask(b"x")
                screen = top.wait_for(f"running (pid {daemon.pid}), ready", "9 spare")
                assert "start the daemon (" not in "\n".join(screen)  # nothing is left of the earlier picture
                daemon.stop()
            top.wait_for("not running", "its last figures", "no children")
        with running(folder) as daemon:
            top.wait_for(f"running (pid {daemon.pid}), ready", "1-8 of 8")
            daemon.kill()
            assert "connections  0 " in "\n".join(top.wait_for("not running", "0 busy, 0 spare"))


@pytest.mark.parametrize("environ", [{}, {"NO_COLOR": "1"}])
def test_colours(daemon: Daemon, environ: dict[str, str]) -> None:
    """top uses colours unless NO_COLOR is set."""
    with terminal("top", "--socket", str(daemon.path), **environ) as top:
        top.wait_for("ready")
        colours = set(re.findall(rb"\x1b\[[0-9;]*?(3\d)(?:;\d+)*m", top.raw))
        assert bool(colours) == (not environ)


def test_pause(daemon: Daemon) -> None:
    """Space freezes the picture, and unfreezes it."""
    with terminal("top", "--socket", str(daemon.path), "--interval", "0.1") as top:
        top.wait_for("0 busy, 8 spare")
        top.press(" ")
        top.wait_for("paused")
        with daemon.held():
            drawn = top.raw.count(FRAME)
            screen = top.wait_until(lambda screen: top.raw.count(FRAME) > drawn + 3, "it is drawn, though paused")
            assert "1 busy" not in "\n".join(screen)
            top.press(" ")
            top.wait_for("1 busy")


@pytest.mark.parametrize("options", [["--once"], []])
def test_one_picture(daemon: Daemon, options: list[str]) -> None:
    """With --once, or without a terminal, top prints one picture of all children, without control characters."""
    command = [*CTL, "top", *options, "--socket", str(daemon.path)]
    environ = {**os.environ, "COLUMNS": "100", "TERM": "xterm"}
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=environ)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(pids(done.stdout.split("\n"))) == sorted(daemon.children())
    assert [line for line in done.stdout.split("\n") if not line.isprintable() or len(line) > 100] == []


def test_one_picture_of_nobody(folder: Path) -> None:
    """Without a daemon `top --once` says what to do, with status 69."""
    command = [*CTL, "top", "--once", "--socket", str(folder / "s")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, "start the daemon (" in done.stderr) == (69, "", True)


def test_wrong_options() -> None:
    """An invalid field or interval is answered with status 64 and the valid ones."""
    done = subprocess.run([*CTL, "top", "--sort", "nope"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "rate" in done.stderr) == (64, True)
    done = subprocess.run([*CTL, "top", "--interval", "0"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "0.1 to 3600" in done.stderr) == (64, True)
