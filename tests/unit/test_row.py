"""A child's own row: the child's counters, and how its connections end."""

import pytest
from serving import serve

from upperd.server import layout
from upperd.server.layout import ACTIVE, ROW_FIELDS, UNKNOWN, Outcome, now_usec
from upperd.server.row import Row
from upperd.server.scoreboard import Scoreboard


def test_row_of_a_connection() -> None:
    """A child's row shows its work, how its connection ended, and when data last moved."""
    _, place, words = Scoreboard(slots=1).claim()
    row = serve(words)
    found = dict(zip(ROW_FIELDS, words[: len(ROW_FIELDS)], strict=True))
    assert (found["connections"], found["finished"], found["outcome"]) == (1, 1, Outcome.DONE)
    assert place[layout.STARTED] <= found["active_usec"] <= now_usec()
    row.begin()
    assert (words[layout.OUTCOME], words[layout.CONNECTIONS], words[layout.FINISHED]) == (Outcome.NONE, 2, 1)
    row.ended_by_size()
    row.finish(Outcome.DONE)
    assert (words[layout.OUTCOME], words[layout.ENDED_BYTES]) == (Outcome.BYTES, 1)


def test_datagrams_without_an_answer() -> None:
    """A datagram without an answer is counted, with the reason if there is one."""
    _, _, words = Scoreboard(slots=1).claim()
    row = Row(words)
    row.unanswered()
    row.unanswered(too_long=True)
    row.unanswered(queue_full=True)
    assert [words[field] for field in (layout.UNANSWERED, layout.UNANSWERED_SIZE, layout.UNANSWERED_FULL)] == [3, 1, 1]


def test_a_counter_that_is_not_declared() -> None:
    """A handler cannot count what its class does not declare."""
    _, _, words = Scoreboard(slots=1).claim()
    with pytest.raises(ValueError, match="declares undecodable"):
        Row(words, ["undecodable"]).count("undecodeable")


def test_counters_count_on() -> None:
    """A child's counters, the handler's own included, add up over all of its connections, and wrap."""
    _, _, words = Scoreboard(slots=1).claim()
    row = serve(words)
    row.begin()
    row.received(1)
    row.count("undecodable")
    assert [words[layout.ROW_FIELDS.index(name)] for name in ("connections", "messages", "bytes_in", "counter_0")] == [
        2, 3, 151, 4,
    ]  # fmt: skip
    row.count("undecodable", UNKNOWN)
    assert words[layout.FIRST_COUNTER] == 3


@pytest.mark.parametrize("moves", [lambda row: row.begin(), lambda row: row.received(0), lambda row: row.sent(0)])
def test_whatever_moves_is_noted(moves) -> None:  # type: ignore[no-untyped-def]
    """The time by which idleness is measured is noted when a connection begins, and at each transfer."""
    _, _, words = Scoreboard(slots=1).claim()
    row, before = Row(words), now_usec()
    moves(row)
    assert before <= words[ACTIVE] <= now_usec()


def test_what_was_written_over_does_no_harm() -> None:
    """A child goes on counting, with wrap-around, whatever was written over its row."""
    _, _, words = Scoreboard(slots=1).claim()
    row = serve(words)
    for field in range(len(ROW_FIELDS)):
        words[field] = UNKNOWN
    row.begin()
    row.received(1)
    row.sent(2)
    row.count("undecodable")
    row.finish(Outcome.DONE)
    row.release()
    found = dict(zip(ROW_FIELDS, words[: len(ROW_FIELDS)], strict=True))
    assert [found[name] for name in ("connections", "finished", "messages", "bytes_in", "bytes_out", "counter_0")] == [
        0, 0, 0, 0, 1, 0,
    ]  # fmt: skip
