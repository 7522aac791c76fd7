"""The promises of a reader of the scoreboard: what it reads adds up, whatever happens meanwhile."""

import os
from pathlib import Path

import pytest

from upperd.server import snapshot
from upperd.server.layout import BUSY, CONNECTIONS, SIZE, TABLE
from upperd.server.scoreboard import Scoreboard


def ended_child(path: str) -> tuple[bytes, bytes]:
    """A scoreboard file whose one child has served five connections and ended: what stood there before, and after."""
    board = Scoreboard(path, slots=2)
    index, slot = board.claim(0, BUSY)
    board.born(index, 77)
    slot.words[CONNECTIONS] = 5
    before = Path(path).read_bytes()
    board.release(index)
    board.add("ended")
    return before, Path(path).read_bytes()


@pytest.mark.parametrize("torn", ["missed", "twice"])
def test_a_child_that_ends_meanwhile_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: str
) -> None:
    """A child that ends while the file is read is counted once: neither missed nor found in both its places."""
    path = str(tmp_path / "scoreboard")
    before, after = ended_child(path)
    first = before[:4096] + after[4096:] if torn == "missed" else after[:4096] + before[4096:]
    pread, reads = os.pread, [first]

    def tear(descriptor: int, size: int, offset: int) -> bytes:
        return reads.pop() if reads and size == SIZE else pread(descriptor, size, offset)

    monkeypatch.setattr(snapshot.os, "pread", tear)
    assert len(first) == SIZE > TABLE
    assert snapshot.read(path).header["connections"] == 5
    assert reads == []


def test_reading_ends(tmp_path: Path) -> None:
    """A file in which nothing adds up is read all the same, after some more looks."""
    path = str(tmp_path / "scoreboard")
    Scoreboard(path)["forked"] = 3
    assert snapshot.read(path).header["forked"] == 3
