"""upperctl send shows its progress to a person at a terminal, and nowhere else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import DEADLINE, Daemon
from terminals import Terminal

CTL = [sys.executable, "-m", "upperd.ctl.main"]
SIZE = 3_000_000


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


@pytest.fixture
def text(folder: Path) -> Path:
    path = folder / "text"
    path.write_bytes(b"some text\n" * (SIZE // 10))
    return path


def _send(daemon: Daemon, *words: str) -> list[str]:
    return [*CTL, "--socket", str(daemon.path), "send", *words]


def test_file_to_a_pipe(daemon: Daemon, terminal: Terminal, text: Path, folder: Path) -> None:
    """With a file, and standard error on a terminal, one line is drawn over and over, and ends at 100 %."""
    with (
        open(folder / "answer", "wb") as answer,
        terminal.program(*_send(daemon, "--file", str(text)), stdout=answer) as process,
    ):
        assert terminal.wait_end(process) == 0
    assert (folder / "answer").read_bytes() == text.read_bytes().upper()
    assert terminal.shown.count("\n") == 1
    last = terminal.shown.rstrip().rpartition("\r")[2]
    assert "100% " in last
    assert "3.0 MB of 3.0 MB" in last
    assert b"\r\x1b[2K" in terminal.raw
    assert b"\x1b[?25h" in terminal.raw.rpartition(b"\x1b[?25l")[2]


def test_pipe_of_unknown_size(daemon: Daemon, terminal: Terminal, folder: Path) -> None:
    """From a pipe the line shows bytes and rate as they come, and neither share nor time left."""
    with (
        open(folder / "answer", "wb") as answer,
        terminal.program(*_send(daemon), stdin=subprocess.PIPE, stdout=answer) as process,
    ):
        process.stdin.write(b"x" * 1000)
        process.stdin.flush()
        terminal.wait_for("1.0 kB")
        process.stdin.write(b"x" * 1000)
        process.stdin.flush()
        terminal.wait_for("2.0 kB")
        process.stdin.close()
        assert terminal.wait_end(process) == 0
    assert (folder / "answer").read_bytes() == b"X" * 2000
    assert "%" not in terminal.shown
    assert "left" not in terminal.shown


def test_text_on_the_same_terminal(daemon: Daemon, terminal: Terminal, folder: Path) -> None:
    """If the terminal shows the text itself, no progress is drawn into it."""
    (folder / "short").write_text("one\ntwo\n")
    with terminal.program(*_send(daemon, "--file", str(folder / "short"))) as process:
        assert terminal.wait_end(process) == 0
    assert terminal.raw == b"ONE\r\nTWO\r\n"


def test_text_on_another_terminal(daemon: Daemon, terminal: Terminal, text: Path) -> None:
    """If one terminal shows the text, and standard error is another, that one shows the progress."""
    other = Terminal()
    try:
        (text.parent / "short").write_text("one\n")
        command = _send(daemon, "--file", str(text.parent / "short"))
        with terminal.program(*command, stdout=other.tty) as process:
            assert terminal.wait_end(process) == 0
        other.wait_for("ONE\n")
        assert "100%" in terminal.shown
    finally:
        other.close()


def test_typed_text(daemon: Daemon, terminal: Terminal) -> None:
    """If the text is typed on the terminal, no progress is drawn into it; Ctrl-D ends it."""
    with terminal.program(*_send(daemon), stdout=subprocess.PIPE) as process:
        terminal.type("typed\n")
        assert process.stdout.read(6) == b"TYPED\n"
        terminal.type("\x04")
        assert terminal.wait_end(process) == 0
    assert terminal.shown == "typed\n"


@pytest.mark.parametrize("term", ["dumb", ""])
def test_dumb_terminal(daemon: Daemon, terminal: Terminal, text: Path, term: str) -> None:
    """A terminal without carriage return gets no progress line."""
    command = _send(daemon, "--file", str(text))
    with terminal.program(*command, stdout=subprocess.DEVNULL, environ={"TERM": term}) as process:
        assert terminal.wait_end(process) == 0
    assert terminal.raw == b""


@pytest.mark.parametrize("no_colour", ["", "1"])
def test_colour_of_the_line(daemon: Daemon, terminal: Terminal, text: Path, no_colour: str) -> None:
    """The line has a colour unless NO_COLOR is set and not empty."""
    command = _send(daemon, "--file", str(text))
    with terminal.program(*command, stdout=subprocess.DEVNULL, environ={"NO_COLOR": no_colour}) as process:
        assert terminal.wait_end(process) == 0
    assert "100%" in terminal.shown
    assert (b"\x1b[32m" in terminal.raw) == (no_colour == "")


def test_no_terminal(daemon: Daemon, text: Path) -> None:
    """Without a terminal nothing is printed on standard error."""
    done = subprocess.run(_send(daemon, "--file", str(text)), capture_output=True, timeout=DEADLINE)
    assert (done.returncode, len(done.stdout), done.stderr) == (0, SIZE, b"")


def test_answer_comes_at_once(daemon: Daemon) -> None:
    """Each line of a pipe is answered and written at once, however slowly the lines come."""
    with subprocess.Popen(_send(daemon), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(3):
            process.stdin.write(b"a line\n")
            process.stdin.flush()
            assert process.stdout.read(7) == b"A LINE\n"
        process.stdin.write(b"no newline")
        process.stdin.close()
        assert process.stdout.read() == b"NO NEWLINE"
        assert process.wait(DEADLINE) == 0


def test_interrupt_ends_the_line(daemon: Daemon, terminal: Terminal) -> None:
    """Ctrl-C ends a transfer by the signal, as with any filter; the progress line is ended, no message follows."""
    with terminal.program(*_send(daemon), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        process.stdin.write(b"x" * 1000)
        process.stdin.flush()
        terminal.wait_for("1.0 kB")
        terminal.type("\x03")
        assert terminal.wait_end(process) == -signal.SIGINT
    assert terminal.shown.endswith("\n")
    assert "Traceback" not in terminal.shown
    assert "upperctl" not in terminal.shown


def test_shell_sees_130(daemon: Daemon) -> None:
    """A shell sees the status 130 after Ctrl-C."""
    command = ["sh", "-c", 'trap : INT; "$@"; echo $?', "sh", *_send(daemon)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, process_group=0
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"xx")
        process.stdin.flush()
        assert process.stdout.read(2) == b"XX"
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.read() == b"130\n"
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.parametrize("with_line", [False, True], ids=["plain", "line"])
def test_reader_has_enough(daemon: Daemon, terminal: Terminal, text: Path, with_line: bool) -> None:
    """When the reader of the answer has gone, upperctl ends quietly, with a shell's status for SIGPIPE."""
    command = _send(daemon, "--file", str(text))
    with terminal.program(
        *command, stdout=subprocess.PIPE, **({} if with_line else {"stderr": subprocess.DEVNULL})
    ) as process:
        assert process.stdout.read(4) == b"SOME"
        process.stdout.close()
        assert terminal.wait_end(process) in ((141,) if with_line else (-signal.SIGPIPE,))
    assert ("%" in terminal.shown, "upperctl" in terminal.shown) == (with_line, False)
