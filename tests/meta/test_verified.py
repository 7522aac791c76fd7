"""docs/verified.md names existing tests, and the pages that should link to it do so."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/verified.md").read_text()
ROWS = [line.strip("| ").split(" | ") for line in TEXT.splitlines() if line.startswith("| ") and "::" in line]


def test_there_are_rows() -> None:
    """A row is a situation, its result, and a test; no row occurs twice."""
    assert len(ROWS) > 60
    assert {len(row) for row in ROWS} == {3}
    assert len({(situation, test) for situation, _, test in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_named_test_exists(row: list[str]) -> None:
    """The test of a row is in the file that the row names."""
    path, name = re.fullmatch(r"`(tests/[a-z0-9_/]+\.py)::(test_[a-z0-9_]+)`", row[2]).groups()  # type: ignore[union-attr]
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_page_is_linked(page: str) -> None:
    """Pages for operators and contributors link to it."""
    assert "](docs/verified.md)" in (ROOT / page).read_text()
