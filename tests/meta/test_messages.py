"""Every message of both programs is produced by a test, listed in a table of tests/messages."""

from __future__ import annotations

import re

import pytest
import test_messages_client
import test_messages_ctl_line
import test_messages_file
import test_messages_line
import test_messages_passed
import test_messages_paths
import test_messages_reload
import test_messages_running
import test_messages_starting
import test_messages_status
from elsewhere import CANNOT_BE_PRODUCED, PRODUCED_ELSEWHERE
from messages_in_source import Part, parts, words_of_test

TABLES = (
    *(
        test_messages_line,
        test_messages_file,
        test_messages_passed,
        test_messages_paths,
        test_messages_starting,
        test_messages_reload,
        test_messages_running,
    ),
    *(test_messages_client, test_messages_ctl_line, test_messages_status),
)
ROWS = [row for module in TABLES for row in module.TABLE]
PARTS = parts()
MOST_LEFT_OUT = 4
FEWEST_WORDS = 2
"""Words that an entry in elsewhere.py must have."""


def _is_in(part: Part, message: str) -> bool:
    """Whether a message contains the words of a part, in their order."""
    place = 0
    for words in part.words:
        place = message.find(words.strip(), place)
        if place < 0:
            return False
        place += len(words.strip())
    return True


def _has(part: Part, fragment: str) -> bool:
    """Whether a fragment belongs to this part, and is not just a few words of a long sentence."""
    longest = max(part.words, key=len).strip(" ;:,.()")
    return any(fragment in words for words in part.words) and MOST_LEFT_OUT * len(fragment) >= len(longest)


def _situation(part: Part) -> bool:
    held = any(_is_in(part, row.message) for row in ROWS)
    elsewhere = (*PRODUCED_ELSEWHERE, *CANNOT_BE_PRODUCED)
    return held or any(_has(part, fragment) for fragment in elsewhere)


def test_there_are_messages() -> None:
    """The source is read correctly: messages are found, and the texts beside them are not."""
    assert len(PARTS) > 200
    found = {words.strip() for part in PARTS for words in part.words}
    assert {"no socket at", "is empty: leave it out for its default", "nothing has changed"} <= found
    assert not any("Returns the exit status" in words for words in found)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.place)
def test_message_has_a_situation(part: Part) -> None:
    """Every message is in a table of tests/messages with its situation, or with the reason why there is none."""
    assert _situation(part), " … ".join(part.words)


@pytest.mark.parametrize(("fragment", "name"), PRODUCED_ELSEWHERE.items(), ids=str)
def test_other_test_has_the_words(fragment: str, name: str) -> None:
    """A test that is named as producing a message contains its words, and these belong to a message."""
    assert len(re.findall(r"[A-Za-z]{2,}", fragment)) >= FEWEST_WORDS
    assert fragment in words_of_test(name).replace("\\", "")
    assert any(_has(part, fragment) for part in PARTS)


@pytest.mark.parametrize(("fragment", "reason"), CANNOT_BE_PRODUCED.items(), ids=str)
def test_reason_is_one(fragment: str, reason: str) -> None:
    """A message that cannot be produced still exists, and the reason is a sentence."""
    assert any(_has(part, fragment) for part in PARTS)
    assert len(reason.split()) >= 5


def test_most_messages_are_produced() -> None:
    """Messages that cannot be produced are the exception: fewer than one in ten."""
    assert len(CANNOT_BE_PRODUCED) < len(PARTS) / 10


def test_each_row_is_another_situation() -> None:
    """No table has an entry twice."""
    assert len({(row.command, row.message) for row in ROWS}) == len(ROWS)
