"""The linters are tests: a missing one is skipped at home, and is a failure in CI."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tools import missing

ROOT = Path(__file__).parents[2]


def run(*command: str) -> None:
    """Run a tool in the checkout; it must be installed and succeed."""
    tool = shutil.which(command[0], path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if tool is None:
        missing(f"no {command[0]}: apt-get install {command[0]}")
    done = subprocess.run([tool, *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stderr.lower(), done.stderr


def test_ruff() -> None:
    """ruff finds nothing."""
    run("ruff", "check", "upperd", "tests", "bench", "man")


def test_mypy() -> None:
    """The package and the benchmarks pass the strict type check."""
    run("mypy")


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "man").iterdir()))
def test_mandoc(page: str) -> None:
    """The manual pages are correct mdoc, in good style; only a sentence may be a long line."""
    run("mandoc", "-Tlint", "-W", "warning", f"man/{page}")
    done = subprocess.run(["mandoc", "-Tlint", "-W", "style", f"man/{page}"], cwd=ROOT, capture_output=True, text=True)
    allowed = ("input text line longer than 80 bytes", "referenced manual not found")
    assert [line for line in done.stdout.splitlines() if not any(words in line for words in allowed)] == []
