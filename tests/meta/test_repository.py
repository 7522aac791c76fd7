"""Rules of this repository that a machine can check."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from upperd import __version__

ROOT = Path(__file__).parents[2]
FOLDERS = ("upperd/**", "tests/**", "bench/**", "man")
SOURCES = sorted(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_files_are_readable(path: Path) -> None:
    """A file has a docstring and at most 300 lines, a function at most 60, and nothing sleeps."""
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree)
    assert len(path.read_text().splitlines()) <= 300
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    long = [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= 60]
    assert long == []
    assert f"time.{'sleep'}(" not in path.read_text()


@pytest.mark.parametrize("path", sorted(ROOT.glob("tests/*/test_*.py")), ids=lambda path: path.stem)
def test_tests_state_their_promise(path: Path) -> None:
    """Every test has a docstring that states its promise."""
    tests = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    silent = [node.name for node in tests if node.name.startswith("test_") and not ast.get_docstring(node)]
    assert silent == []


def test_one_version() -> None:
    """The Debian package and the list of changes begin with the version of the program."""
    assert (ROOT / "debian/changelog").read_text().startswith(f"upperd ({__version__}) ")
    changes = re.findall(r"^## \[(.*?)\]( - \d{4}-\d\d-\d\d)?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert next(name for name, date in changes if date) == __version__


def test_no_path_of_a_machine() -> None:
    """No committed file contains the path of this checkout."""
    done = subprocess.run(["git", "grep", "-nIF", f"{ROOT}/", "--"], cwd=ROOT, capture_output=True, text=True)
    if str(ROOT.parent) not in ("/", "/run", "/etc", "/tmp"):  # of which the daemon has folders of this name
        assert done.stdout == ""
