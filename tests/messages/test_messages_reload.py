"""The messages of upperd about a reload."""

from pathlib import Path

import pytest
from situations import Situation, check

TABLE = [
    Situation(
        "nothing is different",
        "echo 'max-children = 5' >c; serve --config c; kill -HUP $daemon; logged 'reload: '",
        0,
        "upperd[…] reload: nothing has changed",
    ),
    Situation(
        "a limit is different",
        (
            "echo 'max-children = 5' >c; serve --config c; echo 'max-children = 6' >c; kill -HUP $daemon; "
            "logged 'reload: '"
        ),
        0,
        "upperd[…] reload: max-children 5 -> 6, max-children-per-user 4 -> 5",
    ),
    Situation(
        "what takes a restart is different",
        (
            "echo 'max-children = 5' >c; serve --config c; echo 'tcp = \"localhost:1\"' >>c; kill -HUP "
            "$daemon; logged 'restart, ignoring'"
        ),
        0,
        "upperd[…] reload: tcp none -> localhost:1: needs a restart, ignoring",
    ),
    Situation(
        "the file is wrong",
        (
            "echo 'max-children = 5' >c; serve --config c; echo 'max-childern = 5' >c; kill -HUP $daemon; "
            "logged 'reload: '"
        ),
        0,
        "upperd[…] reload: the old settings stay: c: no option 'max-childern'; is it 'max-children'?",
    ),
    Situation(
        "the file is gone",
        "echo 'max-children = 5' >c; serve --config c; rm c; kill -HUP $daemon; logged 'reload: '",
        0,
        (
            "upperd[…] reload: the old settings stay: c: No such file or directory: correct the name, or create "
            "the file (it may be empty)"
        ),
    ),
    Situation(
        "the file is a pipe that has no writer",
        "echo 'max-children = 5' >c; serve --config c; rm c; mkfifo c; kill -HUP $daemon; logged 'reload: '",
        0,
        "upperd[…] reload: the old settings stay: the check was ended by signal 14: can the file be read?",
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.situation)
def test_message(row: Situation, folder: Path) -> None:
    """A reload says what has changed, or why nothing has."""
    check(row, folder)
