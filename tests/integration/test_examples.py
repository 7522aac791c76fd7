"""Every example command of `upperctl --help`, upperctl(1) and upperd(7) works as printed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import COMMAND, DEADLINE, free_port
from tools import need, path_of

from upperd.ctl.parser import EXAMPLES

ROOT = Path(__file__).parents[2]
PORT = free_port()
ENDLESS = ("tail -f", "--watch", "upperctl ping ")
"""A command with such a beginning, or such a part, runs until Ctrl-C."""


def _of_the_help() -> list[str]:
    """The commands of each --help: two in a line, or one and its effect."""
    lines = [line for text in EXAMPLES.values() for line in text.splitlines() if line.startswith("  ")]
    parts = [part for line in lines for part in re.split(" {3,}", line.strip())]
    return [part for part in parts if part.startswith(("upperctl ", "tail ")) and "COMMAND" not in part]


def _of_the_manual(page: str) -> list[str]:
    text = (ROOT / "man" / page).read_text()
    examples = text[text.index(".Sh EXAMPLES") :].partition("\n.Sh SEE")[0].partition("\n.Sh DIAG")[0]
    return re.findall(r"^\$ (.*)$", examples, re.MULTILINE)


HELP, MANUAL = _of_the_help(), _of_the_manual("upperctl.1") + _of_the_manual("upperd.7")
HERE = dict.fromkeys(line for line in HELP + MANUAL if not line.startswith("journalctl "))
"""The journal examples are in tests/systemd/test_unit_journal.py."""


def test_examples_are_found() -> None:
    """Every command's help has an example of its own, and so have the pages."""
    assert {line.split()[1] for line in HELP if line.startswith("upperctl ")} >= EXAMPLES.keys() - {""}
    assert len(HELP) > 12
    assert len(MANUAL) > 10


NAMESPACES = """
ip link set lo up && mount -t tmpfs tmpfs /run && mkdir -p /run/upperd/state && ln -s upperd /run/other && exec "$@"
"""
"""For root: a /run and a port 9999 of the test's own."""


class Home:
    """A user with a daemon at the default path, root with the system's, others with their own, and upperctl in PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "bin").mkdir()
        (folder / "bin/upperctl").write_text(f'#!/bin/sh\nexec {sys.executable} -m upperd.ctl.main "$@"\n')
        (folder / "bin/upperctl").chmod(0o755)
        shutil.copy(ROOT / "README.md", folder)
        for name in ("log", "text"):
            (folder / name).write_text("a line\n")
        self.environ = {
            "PATH": f"{folder}/bin:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
        }  # fmt: skip
        self.is_root = os.geteuid() == 0
        reading, writing = os.pipe()
        command = [*COMMAND, "--no-fallback", "--ready-fd", str(writing)]
        if self.is_root:
            need("unshare", "nsenter", "ip")
            self.environ["RUNTIME_DIRECTORY"] = "/run/upperd/state"
            command = ["unshare", "--mount", "--net", "sh", "-c", NAMESPACES, "sh", *command]
            command += ["--socket", "/run/upperd/upperd.sock", "--tcp", "localhost:9999"]
        else:
            command += ["--tcp", f"localhost:{PORT}"]
        self.daemon = self.start(command, pass_fds=[writing])
        os.close(writing)
        with open(reading) as ready:
            assert ready.read() == "\n"

    def start(self, command: list[str], **popen: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(command, env=self.environ, cwd=self.folder, text=True, **popen)

    def type(self, command: str, **popen: Any) -> subprocess.Popen[str]:
        """Run the command in a shell, with places in the example replaced by this user's."""
        shell = ["sh", "-c", command.replace("/var/lib/prometheus/node-exporter", str(self.folder))]
        if self.is_root:
            return self.start(["nsenter", "-t", str(self.daemon.pid), "-m", "-n", "--wd=.", *shell], **popen)
        shell[2] = re.sub("/run/(other|upperd)(/state)?/", f"{self.folder}/upperd/", shell[2])
        shell[2] = shell[2].replace("localhost:9999", f"localhost:{PORT}")
        return self.start(shell, **popen)


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with tempfile.TemporaryDirectory(prefix="upperd-") as folder:
        home = Home(Path(folder))
        yield home
        home.daemon.terminate()
        home.daemon.wait(DEADLINE)


@pytest.mark.parametrize("command", HERE)
def test_example_works(home: Home, command: str) -> None:
    """An example ends well and prints something, or goes on until Ctrl-C; standard error stays empty."""
    for tool in ("jq", "socat", "od"):
        if f"{tool} " in command:
            path_of(tool)
    is_endless = any(part in f"{command} " for part in ENDLESS) and "-c 1" not in command
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = home.type(command, process_group=0, **pipes)
    try:
        if is_endless:
            assert process.stdout is not None
            assert process.stdout.readline() != ""
            os.killpg(process.pid, signal.SIGINT)
            os.killpg(process.pid, signal.SIGTERM)
        printed, said = process.communicate(timeout=DEADLINE)
    finally:
        process.kill()
    assert said == ""
    assert is_endless or process.returncode == 0
    assert is_endless or printed or " > " in command or "--output" in command or command == "upperctl send"
    assert "it does not answer" not in printed
