"""Programs built around a handler, and the names of daemons."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from handlers import options, write_module
from running import Daemon, running, wait_until


@pytest.fixture
def module(folder: Path) -> Path:
    """A module with handlers, in a folder of its own."""
    return write_module(folder)


# Names, and custom programs

PROGRAM = '''#!{python}
import sys
from socketserver import StreamRequestHandler
from upperd.service import run

class Shout(StreamRequestHandler):
    """Say every line backwards."""

    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.strip()[::-1] + b"\\n")

if __name__ == "__main__":
    sys.exit(run(Shout, name="shoutd"))
'''


@pytest.fixture
def program(folder: Path) -> Path:
    """A script around a handler; its name has no suffix, like that of a command."""
    path = folder / "shoutd"
    path.write_text(PROGRAM.format(python=sys.executable))
    path.chmod(0o755)
    return path


def test_program_has_the_command_line(folder: Path, program: Path) -> None:
    """Help, version, errors and checks of a program have its own name, and the options of upperd that apply to it."""
    helped = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    assert helped.startswith("usage: shoutd [OPTION]...\n\nSay every line backwards.\n")
    assert ("--max-children" in helped, "--handler" in helped) == (True, False)
    assert subprocess.run([program, "--version"], capture_output=True, text=True).stdout.startswith("shoutd ")
    wrong = subprocess.run([program, "--max-childen", "1"], capture_output=True, text=True)
    assert (wrong.returncode, wrong.stderr[:8]) == (64, "shoutd: ")
    assert subprocess.run([program, "--check-config"], capture_output=True).returncode == 0


def test_program_serves(folder: Path, program: Path) -> None:
    """A program has its own default path, and its name in log and status; `upperctl -n` finds it; it reloads."""
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    environ = {"XDG_RUNTIME_DIR": str(runtime), "RUNTIME_DIRECTORY": ""}
    if os.geteuid() == 0:
        environ["RUNTIME_DIRECTORY"] = str(runtime / "shoutd")
        (runtime / "shoutd").mkdir(mode=0o700)
    with running(folder, command=[str(program), "--no-fallback"], environ=environ) as daemon:
        daemon.path = runtime / "shoutd" / "shoutd.sock"
        assert daemon.ask(b"abc\n") == b"cba\n"
        assert "\nshoutd[" in f"\n{daemon.log}"
        assert Path(f"/proc/{daemon.pid}/comm").read_text() == "shoutd\n"
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: "nothing has changed" in daemon.log, "a reload")
        assert daemon.manager.wait_for("STATUS=shoutd: ")
        if os.geteuid() != 0:
            assert upperctl(environ, "-n", "shoutd", "send", "abc") == "cba\n"
            assert json.loads(upperctl(environ, "-n", "shoutd", "stats", "--json"))["name"] == "shoutd"


def upperctl(environ: dict[str, str], *words: str) -> str:
    command = [sys.executable, "-m", "upperd.ctl.main", *words]
    return subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, check=True).stdout


def test_instance_has_its_name(folder: Path, module: Path) -> None:
    """The name of an instance appears in its status, its log, its figures, and its Prometheus metrics."""
    with running(folder, *options(module, "Shout", "--name", "upperd@shout")) as daemon:
        assert daemon.ask(b"a\n") == b"A\n"
        assert (daemon.board.name, _figure(daemon)) == ("upperd@shout", '{name="upperd@shout",counter="lines"} 1')
        daemon.manager.wait_for("STATUS=upperd@shout: ")
        assert upperctl({}, "--socket", str(daemon.path), "status").startswith("upperd@shout ")


def _figure(daemon: Daemon) -> str:
    lines = upperctl({}, "--socket", str(daemon.path), "stats", "--prometheus").splitlines()
    return next(line for line in lines if line.startswith("upperd_handler_counter_total"))[28:]
