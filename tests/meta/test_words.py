"""The text of the project is plain English."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORDS = ("whoever", "somebody", "can be had", "is to be", "are to be", "but for", "he", "his")
"""Words that made sentences hard to read: a process or a client is "it", and a cause comes before its "except"."""
NOT_OURS = re.compile(r"^(CHANGELOG\.md|LICENSE|bench/results/|bench/texts|tests/meta/test_words\.py)")


def _sources() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    names = listed.stdout.split("\0") if listed.returncode == 0 else []
    return [ROOT / name for name in names if name and not NOT_OURS.match(name)]


def test_there_are_sources() -> None:
    """The check looks at the whole tree of a checkout."""
    if not (sources := _sources()):
        pytest.skip("git cannot list the files here: this is no checkout, or one of another user")
    assert len(sources) > 200


@pytest.mark.parametrize("word", WORDS)
def test_word_is_not_used(word: str) -> None:
    """No text, comment or docstring uses this word; the list of changes may."""
    pattern = re.compile(rf"(?<![-\w'\"]){word.replace(' ', chr(92) + 's+')}(?![-\w'\"])", re.IGNORECASE)
    found = []
    for path in _sources():
        try:
            text = path.read_text()
        except (UnicodeDecodeError, FileNotFoundError):
            continue
        found += [f"{path.relative_to(ROOT)}:{text.count(chr(10), 0, m.start()) + 1}" for m in pattern.finditer(text)]
    assert found == []
