"""A reader of the scoreboard: its snapshot adds up, whatever happens meanwhile."""

import os
import sys
from pathlib import Path

import pytest

from upperd.server import layout, snapshot
from upperd.server.layout import CONNECTIONS, HANDED, PLACES, ROWS, SIZE, UNKNOWN
from upperd.server.scoreboard import Scoreboard
from upperd.server.snapshot import ScoreboardError, read


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A path for a scoreboard."""
    return str(tmp_path / "scoreboard")


HEAD = PLACES + 2 * layout.PLACE_SIZE
"""Bytes before the rows of a scoreboard with two slots, as far as they are used."""


def ended_child(path: str) -> tuple[bytes, bytes]:
    """A scoreboard whose only child has served five connections and ended: its head before, and after."""
    board = Scoreboard(path, slots=2)
    slot, _, row = board.claim()
    board.born(slot, 77)
    row[CONNECTIONS] = 5
    before = Path(path).read_bytes()[:HEAD]
    board.release(slot)
    board.add("ended")
    return before, Path(path).read_bytes()[:HEAD]


@pytest.mark.parametrize("torn", ["missed", "twice"])
def test_a_child_that_ends_meanwhile_is_counted_once(path: str, monkeypatch: pytest.MonkeyPatch, torn: str) -> None:
    """A child that ends while the file is read is counted once: neither missed nor found in both its places."""
    before, after = ended_child(path)
    first = before[:PLACES] + after[PLACES:] if torn == "missed" else after[:PLACES] + before[PLACES:]
    pread, reads = os.pread, [first]

    def tear(descriptor: int, size: int, offset: int) -> bytes:
        return reads.pop() if reads and size == HEAD else pread(descriptor, size, offset)

    monkeypatch.setattr(snapshot.os, "pread", tear)
    assert read(path).header["connections"] == 5
    assert reads == []


def test_reading_ends(path: str) -> None:
    """A file in which nothing adds up is read all the same, after some more attempts."""
    Scoreboard(path)["forked"] = 3
    assert read(path).header["forked"] == 3


def test_busy_and_spare(path: str) -> None:
    """A child that has finished all that was handed to it is spare, any other is busy."""
    board = Scoreboard(path)
    for handed, finished in ((0, 0), (3, 3), (3, 2)):
        slot, place, row = board.claim()
        board.born(slot, 10 + handed)
        place[HANDED], row[layout.FINISHED] = handed, finished
    found = read(path)
    assert (found.busy, found.spare, [child["waiting"] for child in found.children]) == (1, 2, [1, 1, 0])


def test_a_child_that_has_not_been_forked_is_not_there(path: str) -> None:
    """A slot whose child is being forked is not shown."""
    Scoreboard(path).claim()
    assert read(path).children == []


def test_nonsense_is_clamped(path: str) -> None:
    """Numbers that a broken child wrote never lead a reader outside its lists, nor to another process."""
    board = Scoreboard(path)
    board.describe("1", ["unix:/a", "unix:/b"], [])
    board["phase"] = 99
    slot, place, row = board.claim()
    board.born(slot, 77)
    place[1:] = memoryview(b"\xff" * (place.nbytes - 8)).cast("Q")
    row[:] = memoryview(b"\xff" * row.nbytes).cast("Q")
    found = read(path)
    [child] = found.children
    assert found.header["phase"] == layout.STOPPED
    assert (child["pid"], child["listener"], child["outcome"]) == (77, 1, 0)


@pytest.mark.parametrize("lie", [0, 1, 4242, UNKNOWN])
def test_what_a_child_cannot_lie_about(path: str, lie: int) -> None:
    """Whatever a child writes all over its page, its identity and its peer are those that the parent noted."""
    board = Scoreboard(path, slots=2)
    slot, place, row = board.claim()
    board.born(slot, 77)
    said = {"handed": 3, "peer_uid": 1000, "peer_gid": 1001, "peer_pid": 4711, "connected_usec": 5, "ending": 8}
    for name, value in said.items():
        place[layout.PLACE_FIELDS.index(name)] = value
    said |= {"pid": 77, "generation": 1, "started_usec": place[layout.STARTED], "listener": 0, "outcome": 8}
    row[:] = memoryview(lie.to_bytes(8, sys.byteorder) * (row.nbytes // 8)).cast("Q")
    [child] = read(path).children
    assert said.items() <= child.items()
    assert (child["connections"], child["slot"]) == (lie, 0)


@pytest.mark.parametrize("slots", [0, 1, 2**40, UNKNOWN])
def test_nonsense_of_a_header(path: str, slots: int) -> None:
    """However many slots a header claims, none beyond a scoreboard's own is read."""
    board = Scoreboard(path, slots=2)
    for pid in (11, 12):
        board.born(board.claim()[0], pid)
    board["slots"] = slots
    assert [child["pid"] for child in read(path).children] == [11, 12][:slots]


def test_the_parents_word_comes_first(path: str) -> None:
    """If the parent has ended a connection, that is the outcome; otherwise the child's word is."""
    board = Scoreboard(path)
    slot, place, row = board.claim()
    board.born(slot, 77)
    row[layout.OUTCOME] = layout.Outcome.DONE
    assert read(path).children[0]["outcome"] == layout.Outcome.DONE
    place[layout.ENDING] = layout.Outcome.IDLE
    assert read(path).children[0]["outcome"] == layout.Outcome.IDLE


def test_counters_of_the_handler(path: str) -> None:
    """A handler's counters appear under their names, for each child, and in total; undeclared ones do not appear."""
    board = Scoreboard(path)
    board.describe("1", ["unix:/a"], ["undecodable", "answers"])
    for pid, count in ((11, 2), (12, 3)):
        slot, _, row = board.claim()
        board.born(slot, pid)
        row[layout.FIRST_COUNTER + 1] = count
    board.release(0)
    board.add("ended")
    found = read(path)
    assert found.counters == ["undecodable", "answers"]
    assert (found.header["undecodable"], found.header["answers"], found.children[0]["answers"]) == (0, 5, 3)
    assert [name for name in (*found.header, *found.children[0]) if name.startswith("counter_")] == []


def test_broken_names_of_counters(path: str) -> None:
    """A counter with an invalid name, or one of ours, keeps the name of its field, and hides nothing."""
    board = Scoreboard(path)
    board.describe("1", [], ["pid", "slot", "x", "x", "\x1b[2J", ""])
    found = read(path)
    assert found.counters == ["counter_0", "counter_1", "x", "counter_3", "counter_4", "counter_5"]
    assert found.header["pid"] == os.getpid()


def test_no_text(path: str) -> None:
    """A scoreboard that has no text yet can be read."""
    board = Scoreboard(path)
    slot, place, _ = board.claim()
    board.born(slot, 77)
    place[layout.LISTENER] = 5
    found = read(path)
    assert (found.version, found.listeners, found.children[0]["listener"]) == ("?", [], 0)


def test_text_that_is_not_utf8(path: str) -> None:
    """Broken text is shown with replacements."""
    Scoreboard(path).describe("1", ["unix:/x"], [])
    with open(path, "r+b") as file:
        file.seek(1024)
        file.write(b"\xff")
    assert read(path).version == "\ufffd"


def test_link_is_not_read(path: str, tmp_path: Path) -> None:
    """A reader does not follow a symbolic link."""
    Scoreboard(str(tmp_path / "true"))
    os.symlink(tmp_path / "true", path)
    with pytest.raises(OSError, match="symbolic"):
        read(path)


@pytest.mark.parametrize("length", [0, 1, 8191, ROWS, SIZE - 1])
def test_truncated(path: str, length: int) -> None:
    """A file that is too short is refused, with its length in the text."""
    Scoreboard(path)
    os.truncate(path, length)
    with pytest.raises(ScoreboardError, match=f"has {length} bytes"):
        read(path)


def test_longer_file(path: str) -> None:
    """Bytes beyond a scoreboard's size are ignored."""
    Scoreboard(path)["forked"] = 0
    with open(path, "ab") as file:
        file.write(b"more")
    assert read(path).children == []


@pytest.mark.parametrize("word", [bytes(8), b"\x01" * 8, b"UPPERD\x00\x01", b"UPPERD\x00\x02"])
def test_foreign(path: str, word: bytes) -> None:
    """A file of the right size without the mark is refused: a foreign, incomplete or older one."""
    with open(path, "wb") as file:
        file.write(word)
        file.truncate(SIZE)
    with pytest.raises(ScoreboardError, match="not a scoreboard of version 3"):
        read(path)


def test_missing(path: str) -> None:
    """A missing file is an OSError, as with open()."""
    with pytest.raises(FileNotFoundError):
        read(path)


def test_fifo_does_not_block(path: str) -> None:
    """A FIFO at the path is refused at once."""
    os.mkfifo(path)
    with pytest.raises(ScoreboardError):
        read(path)


def test_pid_started() -> None:
    """A living process has a start time, one that cannot exist has none."""
    assert snapshot.pid_started(os.getpid()) == snapshot.pid_started(os.getpid()) is not None
    assert snapshot.pid_started(2**31 - 1) is None
