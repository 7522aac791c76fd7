"""The README describes what happens."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from running import wait_until

from upperd.service.options import OPTIONS, flag

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
TABLE = (ROOT / "bench/results/table.md").read_text()


def environment() -> dict[str, str]:
    """Where the programs run from a folder of their own, as if they were installed."""
    return os.environ | {"PYTHONPATH": str(ROOT)}


def _block(language: str, part: str) -> str:
    """The code block that contains `part`."""
    [text] = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if part in text]
    return str(text)


def test_first_commands() -> None:
    """The first command runs the main job, the second the tests; both are targets of the Makefile."""
    commands = "".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)).splitlines()
    assert commands[:2] == ["make run", "make test"]
    assert re.findall("^(run|test check):", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_length() -> None:
    """The README takes a few minutes to read: 900 words, 130 lines."""
    assert len(README.split()) <= 900
    assert len(README.splitlines()) <= 130


def test_options_have_their_defaults() -> None:
    """The options of the README's table exist, and have the defaults stated there."""
    rows = re.findall(r"^\| (`.*) \| (.*?) \| .* \|$", README, re.MULTILINE)
    assert len(rows) == 5
    options = {flag(option.name): option for option in OPTIONS}
    for names, default in rows:
        for name in re.findall("`(.*?)`", names):
            assert name in options
            assert default in ("off", "none") or options[name].shown.startswith(default)


def test_handler_is_served(folder: Path) -> None:
    """The command below the ten-line handler serves it, and its answer is the one shown."""
    code = _block("python", "class Shout")
    assert len([line for line in code.splitlines() if line and not line.startswith("#")]) <= 10
    (folder / "shout.py").write_text(code)
    [served, asked, answer] = _block("console", "--handler").splitlines()
    words = served.removeprefix("$ upperd ").removesuffix(" &").split()
    server = subprocess.Popen(
        [sys.executable, "-m", "upperd.service.cli", *words], cwd=folder, env=environment(), stderr=subprocess.PIPE
    )
    try:
        wait_until(lambda: _accepts(folder / "shout.sock"), "the handler is served")
        command = [sys.executable, "-m", "upperd.ctl.main", *asked.removeprefix("$ upperctl ").split()]
        done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True)
        assert (done.stdout, done.stderr) == (f"{answer}\n", "")
    finally:
        server.terminate()
        server.communicate(timeout=60)


def test_figures_are_measured() -> None:
    """Each figure of the README was found by the benchmark, and is in the benchmark's table of targets."""
    figures = re.findall(r"\*\*([\d.]+) times\*\*", README)
    found = re.findall(r"\| upperd(?:-single)? \| tutorial \| ([\d.]+) \(", TABLE)
    assert len(figures) == 3
    assert [figure for figure in figures if figure not in found] == []


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


@pytest.mark.parametrize("name", re.findall(r"\]\(([^)#:]+)\)", README))
def test_links_lead_somewhere(name: str) -> None:
    """All files that the README links to are in the repository."""
    assert (ROOT / name).exists()
