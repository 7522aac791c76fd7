"""A daemon in the foreground of a terminal, and its reaction to SIGHUP."""

import os
import shlex
import signal
from pathlib import Path

import pytest
from running import COMMAND, DEADLINE, Manager, lives, wait_until
from terminals import Terminal
from test_activation import listens

from upperd.client import Client
from upperd.server.snapshot import read


def _command(folder: Path) -> list[str]:
    return [*COMMAND, "--socket", str(folder / "s"), "--no-fallback"]


@pytest.mark.parametrize("redirected", [[], ["stdin"], ["stderr"]])
def test_terminal_is_closed(folder: Path, redirected: list[str]) -> None:
    """When its terminal is closed the daemon drains and ends, and leaves no file behind."""
    terminal = Terminal()
    with (
        open(folder / "log", "w+b") as log,
        terminal.program(*_command(folder), **dict.fromkeys(redirected, log)) as process,
    ):
        wait_until(lambda: listens(folder / "s"), "the daemon listens")
        with Client(str(folder / "s")) as client:
            assert client.upper("straße") == "STRASSE"
            terminal.close()
            assert process.wait(DEADLINE) == 0
    assert sorted(os.listdir(folder)) == ["log", "s.scoreboard"]


def test_shell_ends(folder: Path) -> None:
    """When the shell of its terminal ends, after it sent its jobs SIGHUP, the daemon ends, too."""
    terminal = Terminal()
    script = f"{shlex.join(_command(folder))} & read -r _; kill -HUP $!"
    with terminal.program("sh", "-c", script) as shell:
        terminal.wait_for("ready: ")
        pid = read(str(folder / "s.scoreboard")).header["pid"]
        terminal.type("\n")
        terminal.wait_end(shell)
        wait_until(lambda: not lives(pid), "the daemon ends")
    terminal.close()


def test_reload_on_a_terminal(folder: Path) -> None:
    """While the terminal exists SIGHUP reloads, as elsewhere; Ctrl-C drains."""
    terminal = Terminal()
    with terminal.program(*_command(folder)) as process:
        terminal.wait_for("ready: ")
        process.send_signal(signal.SIGHUP)
        terminal.wait_for("nothing has changed")
        terminal.type("\x03")
        assert terminal.wait_end(process) == 0
    terminal.close()


def test_supervised_on_a_terminal(folder: Path) -> None:
    """A daemon under a service manager outlives its terminal, and SIGHUP always reloads."""
    terminal, manager = Terminal(), Manager(folder / "notify")
    with terminal.program(*_command(folder), environ={"NOTIFY_SOCKET": str(manager.path)}) as process:
        manager.wait_for("READY=1")
        terminal.close()
        manager.wait_for("RELOADING=1")
        manager.wait_for("READY=1")
        with Client(str(folder / "s")) as client:
            assert client.upper("on") == "ON"
        process.terminate()
        assert process.wait(DEADLINE) == 0
    manager.close()
