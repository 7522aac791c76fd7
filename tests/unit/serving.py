"""A connection as a child counts it, for the tests of a row and of the scoreboard."""

from __future__ import annotations

from upperd.server.layout import Outcome
from upperd.server.row import Row


def serve(words: memoryview) -> Row:
    """One connection of a child."""
    row = Row(words, ["undecodable"])
    row.begin()
    row.received(100)
    row.received(50)
    row.sent(160)
    row.count("undecodable", 3)
    row.finish(Outcome.DONE)
    row.release()
    return row
