"""`make run`: every command that it shows can be typed."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import DEADLINE
from terminals import Terminal

ROOT = Path(__file__).parents[2]
DEMO = [sys.executable, "-m", "upperd.demo"]


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal(columns=200)
    yield made
    made.close()


def test_demonstration_ends_by_itself() -> None:
    """Without a terminal it shows the answer and the status, and ends well, however often it is called."""
    for text, answer in ("grüße", "GRÜSSE"), ("again", "AGAIN"):
        done = subprocess.run([*DEMO, text], cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"\n{answer}\n" in done.stdout
        assert ": running (pid " in done.stdout


def test_what_the_demonstration_shows_can_be_typed(terminal: Terminal) -> None:
    """On a terminal it runs until Ctrl-C, and each client command that it shows works in another terminal."""
    with terminal.program(*DEMO, cwd=str(ROOT)) as demonstration:
        terminal.wait_for("From another terminal:\n")
        terminal.wait_for("send hello\n")
        shown = re.findall(r"^(?:\$|  *)(\S*upperctl .*)$", terminal.shown.replace("$ ", "$"), re.MULTILINE)
        assert len(shown) == 3
        for command in shown:
            done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE)
            assert (done.returncode, done.stderr) == (0, ""), command
        assert done.stdout == "HELLO\n"
        demonstration.send_signal(signal.SIGINT)
        assert demonstration.wait(DEADLINE) == 0
