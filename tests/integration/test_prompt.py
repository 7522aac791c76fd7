"""upperctl send on a terminal: a prompt with line editing and a history."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from running import Daemon, running, wait_until
from terminals import Terminal
from tools import need

pytestmark = pytest.mark.skipif(
    find_spec("readline") is None and not os.environ.get("CI"), reason="this Python was built without readline"
)
CTL = [sys.executable, "-m", "upperd.ctl.main"]
UP, BACKSPACE, CTRL_A, CTRL_C, CTRL_D = "\x1b[A", "\x7f", "\x01", "\x03", "\x04"


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


def _environ(folder: Path, **more: str) -> dict[str, str]:
    """An environment without colour, and with a home in the folder."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    return {"HOME": str(home), "XDG_STATE_HOME": "", "NO_COLOR": "1", "INPUTRC": os.devnull, **more}


def _history(folder: Path) -> Path:
    return folder / "home/.local/state/upperd/history"


def _type(terminal: Terminal, keys: str) -> None:
    """Press these keys once the prompt is shown: before that the terminal would interpret some of them."""
    wait_until(lambda: terminal.drain() or terminal.shown.endswith(">>: "), "the prompt")
    terminal.type(keys)


def _prompt(daemon: Daemon) -> list[str]:
    return [*CTL, "--socket", str(daemon.path), "send"]


def test_prompt(daemon: Daemon, terminal: Terminal, folder: Path) -> None:
    """On a terminal each line is answered after the prompt, and Ctrl-D ends with status 0."""
    with terminal.program(*_prompt(daemon), environ=_environ(folder)) as process:
        for line, answer in (("hello", "HELLO"), ("straße", "STRASSE"), ("", "")):
            _type(terminal, f"{line}\n")
            terminal.wait_for(f"{line}\n{answer}\n")
        _type(terminal, CTRL_D)
        assert terminal.wait_end(process) == 0
    assert terminal.shown == ">>: hello\nHELLO\n>>: straße\nSTRASSE\n>>: \n\n>>: \n"


def test_one_connection(daemon: Daemon, terminal: Terminal, folder: Path) -> None:
    """All lines of a prompt go through one connection."""
    with terminal.program(*_prompt(daemon), environ=_environ(folder)) as process:
        for number in range(3):
            _type(terminal, f"line {number}\n")
            terminal.wait_for(f"LINE {number}")
        assert daemon.board.busy == 1
        _type(terminal, CTRL_D)
        assert terminal.wait_end(process) == 0
    wait_until(lambda: daemon.board.busy == 0, "its child waits for the next one")
    assert [daemon.board.header[name] for name in ("connections", "messages")] == [1, 3]


def test_editing(daemon: Daemon, terminal: Terminal, folder: Path) -> None:
    """A line can be edited before it is sent, and an earlier one can be recalled."""
    with terminal.program(*_prompt(daemon), environ=_environ(folder)):
        _type(terminal, f"bcx{BACKSPACE}{CTRL_A}a\n")
        terminal.wait_for("ABC\n")
        _type(terminal, f"{UP}d\n")
        terminal.wait_for("ABCD\n")


def test_history_file(daemon: Daemon, terminal: Terminal, folder: Path) -> None:
    """A private file keeps the lines for the next prompt, except those that begin with a space."""
    with terminal.program(*_prompt(daemon), environ=_environ(folder)) as process:
        for line in ("kept", " secret", "kept", "last"):
            _type(terminal, f"{line}\n")
            terminal.wait_for(line.upper())
        _type(terminal, CTRL_D)
        assert terminal.wait_end(process) == 0
    assert _history(folder).read_text() == "kept\nlast\n"
    assert stat.S_IMODE(_history(folder).stat().st_mode) == 0o600
    assert stat.S_IMODE(_history(folder).parent.stat().st_mode) == 0o700
    with terminal.program(*_prompt(daemon), environ=_environ(folder)):
        _type(terminal, f"{UP}{UP}!\n")
        terminal.wait_for("KEPT!")


def test_history_survives_a_kill(daemon: Daemon, terminal: Terminal, folder: Path) -> None:
    """A line is saved at once, not at the end."""
    with terminal.program(*_prompt(daemon), environ=_environ(folder)) as process:
        _type(terminal, "one\n")
        terminal.wait_for("ONE")
        process.kill()
    assert _history(folder).read_text() == "one\n"


def test_state_folder(daemon: Daemon, terminal: Terminal, folder: Path) -> None:
    """XDG_STATE_HOME determines where the lines are saved."""
    with terminal.program(*_prompt(daemon), environ=_environ(folder, XDG_STATE_HOME=str(folder / "state"))):
        _type(terminal, "one\n")
        terminal.wait_for("ONE")
        assert (folder / "state/upperd/history").read_text() == "one\n"
    assert list((folder / "home").iterdir()) == []


@pytest.mark.parametrize("home", ["", "missing", "relative"])
def test_no_home(daemon: Daemon, terminal: Terminal, folder: Path, home: str) -> None:
    """If the home does not exist it is not made; the prompt works, and keeps its history while it runs."""
    value = str(folder / "nobody") if home == "missing" else home
    with terminal.program(*_prompt(daemon), environ=_environ(folder, HOME=value), cwd=folder):
        _type(terminal, "one\n")
        terminal.wait_for("ONE")
        _type(terminal, f"{UP}more\n")
        terminal.wait_for("ONEMORE")
    assert [path.name for path in folder.iterdir() if path.name in ("nobody", "relative", ".local")] == []


def test_history_of_another(daemon: Daemon, terminal: Terminal, folder: Path) -> None:
    """A link in place of the history file is not followed, and nothing is written into another user's folder."""
    environ = _environ(folder)
    _history(folder).parent.mkdir(parents=True)
    (folder / "precious").write_text("precious\n")
    _history(folder).symlink_to(folder / "precious")
    with terminal.program(*_prompt(daemon), environ=environ):
        _type(terminal, "one\n")
        terminal.wait_for("ONE")
    assert (folder / "precious").read_text() == "precious\n"
    if os.geteuid() == 0:
        _history(folder).unlink()
        os.chown(_history(folder).parent, 61001, 61001)
        with terminal.program(*_prompt(daemon), environ=environ):
            _type(terminal, "two\n")
            terminal.wait_for("TWO")
        assert list(_history(folder).parent.iterdir()) == []


def test_interrupt_leaves_the_line(daemon: Daemon, terminal: Terminal, folder: Path) -> None:
    """Ctrl-C discards the line and nothing more; a second one says how to end the prompt."""
    with terminal.program(*_prompt(daemon), environ=_environ(folder)) as process:
        _type(terminal, "not this")
        terminal.wait_for("not this")
        terminal.type(CTRL_C)
        terminal.wait_for("\n>>: ")
        _type(terminal, CTRL_C)
        terminal.wait_for("(Ctrl-D ends)\n")
        _type(terminal, "but this\n")
        terminal.wait_for("BUT THIS")
        assert "NOT THIS" not in terminal.shown
        _type(terminal, CTRL_D)
        assert terminal.wait_end(process) == 0


def test_interrupt_between_two_waits(daemon: Daemon, terminal: Terminal, folder: Path) -> None:
    """Ctrl-C after a key was shown, and before the next is awaited, takes effect without another key."""
    need("strace")
    late = ("strace", "-o", os.devnull, "-e", "trace=write", "-e", "inject=write:delay_exit=30000")
    with terminal.program(*late, *_prompt(daemon), environ=_environ(folder)) as process:
        _type(terminal, "not this")
        terminal.wait_for("not this")
        terminal.type(CTRL_C)
        terminal.wait_for("\n>>: ")
        _type(terminal, CTRL_D)
        assert terminal.wait_end(process) == 0


def test_interrupt_while_it_waits(terminal: Terminal, folder: Path) -> None:
    """Ctrl-C while the answer is awaited discards the line, too, and the next line gets its own answer."""
    with (
        running(folder, "--max-children", "1", "--spare-children", "1") as daemon,
        daemon.held() as held,
        terminal.program(*_prompt(daemon), environ=_environ(folder)) as process,
    ):
        _type(terminal, "first\n")
        terminal.wait_for("first\n")
        terminal.drain()
        terminal.type(CTRL_C)
        terminal.wait_for(">>: ")
        held.close()
        _type(terminal, "second\n")
        terminal.wait_for("SECOND")
        _type(terminal, CTRL_D)
        assert terminal.wait_end(process) == 0
    assert "FIRST" not in terminal.shown


def test_restart_meanwhile(terminal: Terminal, folder: Path) -> None:
    """After a restart of the daemon between two lines, the prompt works as if nothing had happened."""
    with running(folder) as first:
        program = terminal.program(*_prompt(first), environ=_environ(folder))
        process = program.__enter__()
        _type(terminal, "one\n")
        terminal.wait_for("ONE")
        first.stop()
    try:
        with running(folder):
            _type(terminal, "two\n")
            terminal.wait_for("TWO")
            _type(terminal, CTRL_D)
            assert terminal.wait_end(process) == 0
    finally:
        program.__exit__(None, None, None)
    assert "upperctl" not in terminal.shown


def test_daemon_goes_away(terminal: Terminal, folder: Path) -> None:
    """Without a daemon a line gets an error with the cure, the prompt stays, and the last line decides the status.

    The end of the parent alone ends no connection.
    """
    with running(folder) as daemon, terminal.program(*_prompt(daemon), environ=_environ(folder)) as process:
        _type(terminal, "one\n")
        terminal.wait_for("ONE")
        daemon.stop()
        _type(terminal, "two\n")
        terminal.wait_for(f"upperctl: no socket at {daemon.path}: start upperd")
        with running(folder) as killed:
            _type(terminal, f"{UP}\n")
            terminal.wait_for("TWO")
            [busy] = [child["pid"] for child in killed.board.children if not child["waiting"]]
        _type(terminal, "three\n")
        terminal.wait_for("THREE")
        os.kill(busy, signal.SIGKILL)
        _type(terminal, "four\n")
        terminal.wait_for("upperctl: nothing listens on")
        _type(terminal, CTRL_D)
        assert terminal.wait_end(process) == 69


def test_no_daemon_from_the_beginning(terminal: Terminal, folder: Path) -> None:
    """Without a daemon at the start upperctl prints the error instead of a prompt, and exits with its status."""
    command = [*CTL, "--socket", str(folder / "none"), "send"]
    with terminal.program(*command, environ=_environ(folder)) as process:
        assert terminal.wait_end(process) == 69
    assert "no socket at" in terminal.shown
    assert ">>:" not in terminal.shown


def test_colour_of_the_prompt(daemon: Daemon, terminal: Terminal, folder: Path) -> None:
    """The prompt has a colour on a terminal, unless NO_COLOR says otherwise."""
    for no_colour in ("", "1"):
        before = len(terminal.raw)
        with terminal.program(*_prompt(daemon), environ=_environ(folder, NO_COLOR=no_colour)) as process:
            _type(terminal, CTRL_D)
            assert terminal.wait_end(process) == 0
        assert (b"\x1b[32;1m>>:\x1b[0m " in terminal.raw[before:]) == (no_colour == "")


def test_bytes_that_are_no_text(daemon: Daemon, terminal: Terminal, folder: Path) -> None:
    """Invalid UTF-8 is sent, and comes back, unchanged."""
    with terminal.program(*_prompt(daemon), environ=_environ(folder, LC_ALL="C.UTF-8")):
        _type(terminal, "")
        os.write(terminal.screen, b"a\xffb\n")
        wait_until(lambda: terminal.drain() or b"A\xffB" in terminal.raw, "the answer")


@pytest.mark.parametrize("environ", [{}, {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}], ids=["coerced", "plain"])
def test_letter_that_the_locale_has_not(
    daemon: Daemon, terminal: Terminal, folder: Path, environ: dict[str, str]
) -> None:
    """Under LC_ALL=C a line with a non-ASCII letter is shown, answered and saved as in any locale."""
    with terminal.program(*_prompt(daemon), environ=_environ(folder, LC_ALL="C", **environ)) as process:
        _type(terminal, "straße\n")
        terminal.wait_for("STRASSE\n")
        _type(terminal, CTRL_D)
        assert terminal.wait_end(process) == 0
    assert ">>: straße\n" in terminal.shown
    assert _history(folder).read_text("utf-8") == "straße\n"
