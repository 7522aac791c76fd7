"""The promises of the scoreboard: to the parent, to its children, and to whoever reads the file."""

import mmap
import os
import stat
import struct
from pathlib import Path

import pytest

from upperd.server import layout, scoreboard
from upperd.server.layout import BUSY, FREE, SIZE, SLOT_FIELDS, UNKNOWN, WAITING
from upperd.server.scoreboard import Scoreboard
from upperd.server.slot import now_usec
from upperd.server.snapshot import ScoreboardError, Snapshot, read


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a scoreboard may be made."""
    return str(tmp_path / "scoreboard")


def taken(board: Scoreboard) -> Snapshot:
    """What a reader finds at this moment."""
    return Snapshot(bytes(board._map))


def word(data: bytes, offset: int) -> int:
    """The 64-bit word at `offset`, in the byte order of the host."""
    return int(struct.unpack_from("=Q", data, offset)[0])


def test_header_layout(path: str) -> None:
    """A header field lies in the file at eight bytes times its place in the list."""
    board = Scoreboard(path)
    for number, name in enumerate(layout.HEADER_FIELDS[3:], 3):
        board[name] = 1000 + number
    data = Path(path).read_bytes()
    assert len(data) == SIZE == 4096 + 4096 * 8 + 4096 * 32 * 8
    assert data[:8] == b"UPPERD\x00\x01"
    assert word(data, 8) == os.getpid()
    assert word(data, 16) == scoreboard.pid_started(os.getpid())
    for number in range(3, len(layout.HEADER_FIELDS)):
        assert word(data, number * 8) == 1000 + number


def test_text_layout(path: str) -> None:
    """The text lies at offset 1024: the version and the listeners, a line each, then zeros."""
    board = Scoreboard(path)
    board.describe("1.2", ["unix:/é", "tcp:127.0.0.1:1"])
    text = "1.2\nunix:/é\ntcp:127.0.0.1:1\n".encode()
    assert Path(path).read_bytes()[1024:4096] == text.ljust(3072, b"\0")
    assert board["listeners"] == 2


def test_text_is_cut_to_its_room(path: str) -> None:
    """Text that is too long spares the state column and still ends with a zero."""
    board = Scoreboard(path)
    board.claim(0, BUSY)
    board.describe("1.2", ["x" * 5000])
    data = Path(path).read_bytes()
    assert (data[4094:4096], data[4096]) == (b"x\0", BUSY)
    assert len(read(path).listeners) == 1


def test_slot_layout(path: str) -> None:
    """A slot's state is a word at 4096 plus eight times its index, its 32 words lie at 36864 plus 256 times that."""
    board = Scoreboard(path)
    index, _ = board.claim(0, BUSY)
    index, slot = board.claim(2, WAITING + 2)
    for number in range(32):
        slot.words[number] = 500 + number
    data = Path(path).read_bytes()
    assert index == 1
    assert struct.unpack_from("=3Q", data, 4096) == (BUSY, WAITING + 2, FREE)
    assert struct.unpack_from("=32Q", data, 36864 + 256) == tuple(range(500, 532))


def test_slot_fields_have_their_numbers() -> None:
    """The constants name the fields of a slot in their order."""
    constants = [name.upper().removesuffix("_USEC").removesuffix("_NSEC") for name in SLOT_FIELDS]
    assert [getattr(layout, name) for name in constants] == list(range(len(SLOT_FIELDS)))
    assert len(SLOT_FIELDS) <= layout.WORDS_A_SLOT


def test_claimed_row_is_blank() -> None:
    """A claimed row shows nothing of the child that had it before."""
    board = Scoreboard(slots=1)
    index, slot = board.claim(3, WAITING + 3)
    slot.words[:] = memoryview(struct.pack("=32Q", *[7] * 32)).cast("Q")
    board.release(index)
    _, slot = board.claim(1, WAITING + 1)
    row = dict(zip(SLOT_FIELDS, slot.words, strict=False))
    assert set(slot.words[len(SLOT_FIELDS) :]) == {0}
    assert row.pop("started_usec") > 0
    assert (row.pop("listener"), row.pop("generation")) == (1, 2)
    assert {row.pop("peer_uid"), row.pop("peer_gid"), row.pop("peer_pid")} == {UNKNOWN}
    assert set(row.values()) == {0}


def test_claim_ends_with_the_slots() -> None:
    """There are as many rows as slots were asked for, and a released one can be claimed again."""
    board = Scoreboard(slots=3)
    indices = [board.claim(0, BUSY)[0] for _ in range(3)]
    assert sorted(indices) == [0, 1, 2]
    with pytest.raises(IndexError):
        board.claim(0, BUSY)
    board.release(indices[1])
    assert board.claim(0, BUSY)[0] == indices[1]


def test_born_counts_forks() -> None:
    """A child that was born is counted, and its generation says which fork it was."""
    board = Scoreboard(slots=4)
    generations = []
    for pid in (11, 12):
        index, slot = board.claim(0, BUSY)
        board.born(index, pid)
        assert slot.words[layout.PID] == pid
        generations.append(int(slot.words[layout.GENERATION]))
    assert (generations, board["forked"]) == ([1, 2], 2)


def serve(slot: scoreboard.Slot) -> None:
    """One connection of a child."""
    slot.connected(10, 20, 30)
    slot.received(100)
    slot.received(50)
    slot.sent(160)
    slot.undecodable(3)
    slot.end(layout.DONE)


TOTALS = {"connections": 2, "messages": 4, "bytes_in": 300, "bytes_out": 320, "undecodable": 6, "refused": 0}


def test_totals_while_living_and_after() -> None:
    """The totals of a snapshot are the same before and after a child's release."""
    board = Scoreboard(slots=4)
    index, first = board.claim(0, BUSY)
    _, second = board.claim(0, BUSY)
    serve(first)
    serve(second)
    before = taken(board).header
    board.release(index)
    after = taken(board).header
    assert {name: before[name] for name in TOTALS} == TOTALS
    assert {name: after[name] for name in TOTALS} == TOTALS
    assert board["connections"] == 1


def test_release_wraps() -> None:
    """The nonsense of a broken child wraps in the totals and stops nobody."""
    board = Scoreboard(slots=1)
    board["bytes_in"] = 5
    index, slot = board.claim(0, BUSY)
    slot.words[layout.BYTES_IN] = UNKNOWN
    assert taken(board).header["bytes_in"] == 4
    board.release(index)
    assert board["bytes_in"] == 4


def test_overwritten_file_is_repaired(path: str) -> None:
    """What the parent has said stands in the file again, the living are busy, other slots free; it is done once."""
    board = Scoreboard(path, slots=4)
    board.describe("9.9", ["unix:/x"])
    board["max_children"] = 4
    index, _ = board.claim(0, WAITING)
    assert not board.repair({index})
    Path(path).write_bytes(b"\xff" * SIZE)
    assert board.repair({index})
    assert not board.repair({index})
    snapshot = read(path)
    assert (snapshot.version, snapshot.header["max_children"], snapshot.header["pid"]) == ("9.9", 4, os.getpid())
    assert (snapshot.busy, snapshot.spare, snapshot.header["forked"]) == (1, 0, 0)


def test_counters_wrap_whatever_stands_there(path: str) -> None:
    """With ones written over all of it nothing fails that counts."""
    board = Scoreboard(path, slots=4)
    index, slot = board.claim(0, WAITING)
    Path(path).write_bytes(b"\xff" * SIZE)
    board.born(index, 1)
    slot.connected(0, 0, 1)
    slot.received(2)
    slot.sent(2)
    slot.undecodable(2)
    board.add("ended")
    board.extend(8)
    board.release(index)
    assert (board["forked"], board["ended"]) == (0, 0)


def test_slot_shows_its_peer_and_times() -> None:
    """A connection shows who is there, and when something happened last."""
    _, slot = Scoreboard(slots=1).claim(0, BUSY)
    serve(slot)
    row = dict(zip(SLOT_FIELDS, slot.words, strict=False))
    assert (row["peer_uid"], row["peer_gid"], row["peer_pid"]) == (10, 20, 30)
    assert row["started_usec"] <= row["connected_usec"] <= row["active_usec"] <= now_usec()
    assert row["outcome"] == layout.DONE
    assert 0 <= slot.idle_usec() < 60_000_000


def test_snapshot_clamps_nonsense() -> None:
    """Numbers that a broken child or parent wrote never lead a reader outside its lists."""
    board = Scoreboard(slots=2)
    board.describe("1", ["unix:/a", "unix:/b"])
    board["phase"] = 99
    _, slot = board.claim(0, 0xF7)
    for number in range(32):
        slot.words[number] = UNKNOWN
    snapshot = taken(board)
    child = snapshot.children[0]
    assert snapshot.header["phase"] == layout.STOPPED
    assert (child["listener"], child["outcome"], child["waiting"]) == (1, layout.NONE, 0)


def test_snapshot_without_text() -> None:
    """A scoreboard that nobody has described yet can be read."""
    board = Scoreboard(slots=1)
    board.claim(5, BUSY)
    snapshot = taken(board)
    assert (snapshot.version, snapshot.listeners, snapshot.children[0]["listener"]) == ("?", [], 0)


def test_text_that_is_not_utf8(path: str) -> None:
    """Broken text is shown with replacements."""
    board = Scoreboard(path)
    board.describe("1", ["unix:/x"])
    with open(path, "r+b") as file:
        file.seek(1024)
        file.write(b"\xff")
    assert read(path).version == "�"


def test_file_is_read_back(path: str) -> None:
    """A reader of the file sees what the daemon sees."""
    board = Scoreboard(path)
    board.describe("9.9", ["unix:/a"])
    _, slot = board.claim(0, BUSY)
    serve(slot)
    theirs, ours = read(path), taken(board)
    assert (theirs.header, theirs.children) == (ours.header, ours.children)
    assert (theirs.version, theirs.listeners) == ("9.9", ["unix:/a"])


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_mode(path: str, umask: int) -> None:
    """The file has mode 0640 whatever the umask is."""
    before = os.umask(umask)
    try:
        Scoreboard(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o640


def test_memory_is_allocated(path: str) -> None:
    """All blocks of the file exist from the beginning."""
    Scoreboard(path)
    assert os.stat(path).st_blocks * 512 >= SIZE


def test_symlink_is_replaced(path: str, tmp_path: Path) -> None:
    """A symbolic link at the path is replaced, and its target stays as it was."""
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    os.symlink(target, path)
    Scoreboard(path)
    assert target.read_bytes() == b"precious"
    assert stat.S_ISREG(os.lstat(path).st_mode)


def test_symlink_is_not_read(path: str, tmp_path: Path) -> None:
    """A reader does not follow a symbolic link either."""
    Scoreboard(str(tmp_path / "true"))
    os.symlink(tmp_path / "true", path)
    with pytest.raises(OSError, match="symbolic"):
        read(path)


def test_old_reader_keeps_old_figures(path: str) -> None:
    """Who has the old file open keeps its last figures when a daemon makes it anew."""
    old = Scoreboard(path)
    old["forked"] = 41
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
        Scoreboard(path)["forked"] = 1
        assert Snapshot(bytes(view)).header["forked"] == 41
    assert read(path).header["forked"] == 1


def test_file_survives_its_daemon(path: str) -> None:
    """The figures can be read when the daemon has gone."""
    board = Scoreboard(path)
    board["forked"] = 12
    del board
    assert read(path).header["forked"] == 12


@pytest.mark.parametrize("length", [0, 1, 8191, SIZE - 1])
def test_truncated(path: str, length: int) -> None:
    """A file that is too short is refused, with its length in the text."""
    Scoreboard(path)
    os.truncate(path, length)
    with pytest.raises(ScoreboardError, match=f"has {length} bytes"):
        read(path)


def test_longer_file(path: str) -> None:
    """What a file has beyond a scoreboard's size is ignored."""
    data = bytes(Scoreboard(path)._map)
    assert Snapshot(data + b"more").header == Snapshot(data).header


def test_foreign(path: str) -> None:
    """A file of the right size without the mark is refused."""
    Path(path).write_bytes(b"\x01" * SIZE)
    with pytest.raises(ScoreboardError, match="mark"):
        read(path)


def test_unfinished_scoreboard(path: str) -> None:
    """A file that a daemon has only begun, all zeros, is refused."""
    Path(path).write_bytes(bytes(SIZE))
    with pytest.raises(ScoreboardError):
        read(path)


def test_missing(path: str) -> None:
    """A missing file is an OSError, as open() has it."""
    with pytest.raises(FileNotFoundError):
        read(path)


def test_fifo_does_not_block(path: str) -> None:
    """A FIFO at the path is refused at once."""
    os.mkfifo(path)
    with pytest.raises(ScoreboardError):
        read(path)


def test_folder_is_missing(tmp_path: Path) -> None:
    """A scoreboard in a folder that does not exist is an OSError."""
    with pytest.raises(FileNotFoundError):
        Scoreboard(str(tmp_path / "none" / "scoreboard"))


@pytest.mark.parametrize("kept", [b"notes", b"\0" * 7 + b"x" + b"\0" * 100])
def test_other_file_is_not_replaced(path: str, kept: bytes) -> None:
    """A file that is not a scoreboard stays as it is."""
    Path(path).write_bytes(kept)
    with pytest.raises(FileExistsError, match="not a scoreboard"):
        Scoreboard(path)
    assert Path(path).read_bytes() == kept
    Path(path).unlink()
    Path(path).mkdir()
    with pytest.raises(OSError, match=r"not a scoreboard|Is a directory"):
        Scoreboard(path)


@pytest.mark.parametrize("length", [0, 8, 4096, SIZE])
def test_old_scoreboard_is_replaced(path: str, length: int) -> None:
    """A scoreboard that was left behind, whole or not, is replaced."""
    Scoreboard(path)
    Path(path).write_bytes(Path(path).read_bytes()[:length])
    Scoreboard(path)
    assert read(path).header["forked"] == 0


def test_pid_started() -> None:
    """A process that lives has a start, one that cannot exist has none."""
    assert scoreboard.pid_started(os.getpid()) == scoreboard.pid_started(os.getpid()) is not None
    assert scoreboard.pid_started(2**31 - 1) is None
