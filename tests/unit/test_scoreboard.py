"""The scoreboard as the parent and its children use it, and the place of each number in the file."""

import mmap
import os
import stat
import struct
from pathlib import Path

import pytest
from serving import serve

from upperd.server import layout
from upperd.server.layout import PLACE_FIELDS, PLACES, ROW_FIELDS, ROW_SIZE, ROWS, SIZE, SLOTS, TEXT, UNKNOWN, now_usec
from upperd.server.scoreboard import Scoreboard
from upperd.server.snapshot import pid_started, read


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A path for a scoreboard."""
    return str(tmp_path / "scoreboard")


def word(data: bytes, offset: int) -> int:
    """The 64-bit word at `offset`, in the byte order of the host."""
    return int(struct.unpack_from("=Q", data, offset)[0])


# The layout


def test_header_layout(path: str) -> None:
    """A header field lies in the file at eight bytes times its place in the list."""
    board = Scoreboard(path)
    for number, name in enumerate(layout.HEADER_FIELDS[3:], 3):
        board[name] = 1000 + number
    data = Path(path).read_bytes()
    assert len(data) == SIZE == 4096 + 4096 * 128 + 4096 * 4096
    assert data[:8] == b"UPPERD\x00\x03"
    assert word(data, 8) == os.getpid()
    assert word(data, 16) == pid_started(os.getpid())
    for number in range(3, len(layout.HEADER_FIELDS)):
        assert word(data, number * 8) == 1000 + number
    assert len(layout.HEADER_FIELDS) * 8 <= TEXT


def test_text_layout(path: str) -> None:
    """The text lies at offset 1024: version, name, handler, listeners, own counters, a line each; then zeros."""
    board = Scoreboard(path)
    board.describe("1.2", ["unix:/é", "tcp:127.0.0.1:1"], ["undecodable"])
    text = "1.2\nupperd\n\nunix:/é\ntcp:127.0.0.1:1\nundecodable\n".encode()
    assert Path(path).read_bytes()[TEXT:PLACES] == text.ljust(3072, b"\0")
    assert board["listeners"] == 2


def test_text_is_cut_to_its_room(path: str) -> None:
    """Text that is too long does not reach the places and still ends with a zero."""
    board = Scoreboard(path)
    slot, _, _ = board.claim()
    board.born(slot, 77)
    board.describe("1.2", ["x" * 5000], [])
    data = Path(path).read_bytes()
    assert (data[4094:4096], word(data, 4096)) == (b"x\0", 77)
    assert len(read(path).listeners) == 1


def test_slot_layout(path: str) -> None:
    """A slot's place is at 4096 plus 128 times its number; its row is the page at 528384 plus 4096 times that."""
    board = Scoreboard(path)
    for pid in (11, 12):
        slot, place, row = board.claim()
        board.born(slot, pid)
    for words, names in ((place, PLACE_FIELDS), (row, ROW_FIELDS)):
        for number in range(1, len(names)):
            words[number] = 500 + number
    data = Path(path).read_bytes()
    assert slot == 1
    assert [word(data, 4096 + 128 * number) for number in range(3)] == [11, 12, 0]
    found = struct.unpack_from(f"={len(PLACE_FIELDS)}Q", data, 4096 + 128)
    assert found == (12, *range(501, 500 + len(PLACE_FIELDS)))
    found = struct.unpack_from(f"={len(ROW_FIELDS)}Q", data, 528384 + 4096)
    assert found == (0, *range(501, 500 + len(ROW_FIELDS)))
    assert (PLACES, layout.PLACE_SIZE, ROWS, ROW_SIZE, SLOTS) == (4096, 128, 528384, mmap.PAGESIZE, 4096)
    assert len(PLACE_FIELDS) * 8 <= layout.PLACE_SIZE


def test_no_child_shares_a_page_with_another() -> None:
    """Rows are whole pages: a page that a child may write has nothing that the parent has written."""
    assert ROWS % mmap.PAGESIZE == PLACES % mmap.PAGESIZE == ROW_SIZE % mmap.PAGESIZE == 0
    assert ROWS >= PLACES + SLOTS * layout.PLACE_SIZE


@pytest.mark.parametrize("names", [PLACE_FIELDS, ROW_FIELDS], ids=["place", "row"])
def test_fields_have_their_numbers(names: tuple[str, ...]) -> None:
    """The constants name the fields of a place, and of a row, in their order, and no field is in both."""
    named = [name for name in names if not name.startswith("counter_")]
    assert [getattr(layout, name.upper().removesuffix("_USEC")) for name in named] == list(range(len(named)))
    assert ROW_FIELDS[layout.FIRST_COUNTER] == "counter_0"
    assert len({*PLACE_FIELDS, *ROW_FIELDS}) == len(PLACE_FIELDS) + len(ROW_FIELDS)


# Slots


def test_claimed_slot_is_blank() -> None:
    """A claimed place and row show nothing of the slot's previous child, nor the exception that ended that child."""
    board = Scoreboard(slots=1)
    slot, place, row = board.claim()
    for words, names in ((place, PLACE_FIELDS), (row, ROW_FIELDS)):
        for number in range(len(names)):
            words[number] = 7
    row[layout.FAILURE // 8] = 7
    board.release(slot)
    _, place, row = board.claim()
    found = dict(zip(PLACE_FIELDS, place[: len(PLACE_FIELDS)], strict=True))
    assert 0 < found.pop("started_usec") <= now_usec()
    assert found.pop("generation") == 2
    assert {found.pop("peer_uid"), found.pop("peer_gid"), found.pop("peer_pid")} == {UNKNOWN}
    assert set(found.values()) == {0}
    assert {*row[: len(ROW_FIELDS)], row[layout.FAILURE // 8]} == {0}


def test_claim_ends_with_the_slots() -> None:
    """There are as many rows as slots were requested; a released one can be claimed again, and more can be added."""
    board = Scoreboard(slots=3)
    slots = [board.claim()[0] for _ in range(3)]
    assert slots == [0, 1, 2]
    with pytest.raises(IndexError):
        board.claim()
    board.release(1)
    assert board.claim()[0] == 1
    board.extend(2)
    board.extend(5)
    assert [board.claim()[0] for _ in range(2)] == [3, 4]


def test_born_counts_forks() -> None:
    """A child that was born is counted, and its generation says which fork it was."""
    board = Scoreboard(slots=4)
    generations = []
    for pid in (11, 12):
        slot, place, _ = board.claim()
        board.born(slot, pid)
        assert place[layout.PID] == pid
        generations.append(int(place[layout.GENERATION]))
    assert (generations, board["forked"]) == ([1, 2], 2)


TOTALS = {"connections": 2, "messages": 4, "bytes_in": 300, "bytes_out": 320, "undecodable": 6}


def test_totals_while_living_and_after(path: str) -> None:
    """The totals of a snapshot are the same before and after a child's release."""
    board = Scoreboard(path, slots=4)
    board.describe("1", [], ["undecodable"])
    for pid in (11, 12):
        slot, _, row = board.claim()
        board.born(slot, pid)
        serve(row)
    before = read(path).header
    assert board.total("connections") == 2
    board.release(slot)
    board.add("ended")
    after = read(path).header
    assert {name: before[name] for name in TOTALS} == TOTALS
    assert {name: after[name] for name in TOTALS} == TOTALS
    assert (board["connections"], board.total("connections")) == (1, 2)


def test_release_wraps(path: str) -> None:
    """The nonsense of a broken child wraps in the totals and stops nothing."""
    board = Scoreboard(path, slots=1)
    board["bytes_in"] = 5
    slot, _, row = board.claim()
    board.born(slot, 11)
    row[layout.BYTES_IN] = UNKNOWN
    assert read(path).header["bytes_in"] == 4
    board.release(slot)
    assert board["bytes_in"] == 4


# A file that was written over


def test_overwritten_file_is_repaired(path: str) -> None:
    """A repair restores the parent's own data in the file, and empties all slots; it is done once."""
    board = Scoreboard(path, slots=4)
    board.describe("9.9", ["unix:/x"], [])
    board["max_children"] = 4
    assert not board.repair()
    with open(path, "r+b") as file:
        file.write(b"\xff" * (PLACES + 4 * layout.PLACE_SIZE))
    assert board.repair()
    assert not board.repair()
    snapshot = read(path)
    assert (snapshot.version, snapshot.header["max_children"], snapshot.header["pid"]) == ("9.9", 4, os.getpid())
    assert (snapshot.header["forked"], snapshot.header["slots"], snapshot.children) == (0, 4, [])


def test_counters_wrap_whatever_stands_there(path: str) -> None:
    """With ones written over all of it, no counting fails."""
    board = Scoreboard(path, slots=4)
    slot, _, row = board.claim()
    with open(path, "r+b") as file:
        file.write(b"\xff" * (ROWS + 4 * ROW_SIZE))
    board.born(slot, 1)
    serve(row)
    board.add("ended")
    board.extend(8)
    board.release(slot)
    assert (board["forked"], board["ended"]) == (0, 0)


# Access


def test_a_child_has_its_own_row_only(path: str) -> None:
    """A forked child can write its own row, and has nothing else of the scoreboard mapped."""
    board = Scoreboard(path, slots=2)
    slot, _, row = board.claim()
    board.show(slot)
    if not (pid := os.fork()):
        serve(row)
        with open("/proc/self/maps") as maps:
            sizes = [[int(end, 16) for end in line.split()[0].split("-")] for line in maps if path in line]
        os._exit(0 if [end - start for start, end in sizes] == [ROW_SIZE] else 1)
    board.hide(slot)
    assert os.waitpid(pid, 0)[1] == 0
    assert (row[layout.CONNECTIONS], row[layout.BYTES_IN]) == (1, 150)


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
    """The blocks of all slots in use exist from the beginning, and no others."""
    board = Scoreboard(path, slots=10)
    assert ROWS + 10 * ROW_SIZE <= os.stat(path).st_blocks * 512 < ROWS + 100 * ROW_SIZE
    board.extend(50)
    assert os.stat(path).st_blocks * 512 >= ROWS + 50 * ROW_SIZE


def test_symlink_is_replaced(path: str, tmp_path: Path) -> None:
    """A symbolic link at the path is replaced, and its target stays as it was."""
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    os.symlink(target, path)
    Scoreboard(path)
    assert target.read_bytes() == b"precious"
    assert stat.S_ISREG(os.lstat(path).st_mode)


def test_file_survives_its_daemon(path: str) -> None:
    """The figures can be read after the daemon's end."""
    board = Scoreboard(path)
    board["ended"] = 12
    del board
    assert read(path).header["ended"] == 12


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


@pytest.mark.parametrize("left", [b"", bytes(8), b"UPPERD\0\1 of version 1", b"UPPERD\0\2", b"UPPERD\0\3"])
def test_old_scoreboard_is_replaced(path: str, left: bytes) -> None:
    """An old scoreboard, complete or not, of any version, is replaced."""
    Path(path).write_bytes(left)
    Scoreboard(path)
    assert read(path).header["pid"] == os.getpid()
