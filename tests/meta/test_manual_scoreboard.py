"""upperd(7) describes the scoreboard that the program writes."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from upperd.server import layout
from upperd.server.row import Row
from upperd.server.scoreboard import Scoreboard

PAGE = (Path(__file__).parents[2] / "man/upperd.7").read_text()
SECTIONS = dict(re.findall(r"^\.S[sh] (.*)\n((?:.*\n)*?)(?=\.S[sh] |\Z)", PAGE, re.MULTILINE))


def _table(heading: str) -> list[tuple[int, str]]:
    """A list of the page: (offset, field) in its order."""
    text = SECTIONS["Scoreboard"].split(heading)[1].split("\n.El\n")[0]
    return [(int(offset), name) for offset, name in re.findall(r"^\.It (\d+) Va (\w+)$", text, re.MULTILINE)]


def test_scoreboard_is_documented() -> None:
    """The page has every field of the header, of a place and of a row at its offset, and no other."""
    assert _table("The header, by offset:") == [(8 * i, name) for i, name in enumerate(layout.HEADER_FIELDS)]
    assert _table("A place, by offset") == [(8 * i, name) for i, name in enumerate(layout.PLACE_FIELDS)]
    assert _table("A row, by offset") == [(8 * i, name) for i, name in enumerate(layout.ROW_FIELDS)]


@pytest.mark.parametrize(
    "sentence",
    [
        f"A file of {layout.SIZE} bytes",
        f".It Offset {layout.TEXT} Text in UTF-8",
        f".It Offset {layout.PLACES} The places of the {layout.SLOTS} slots, {layout.PLACE_SIZE} bytes for each",
        f".It Offset {layout.ROWS} The rows of the {layout.SLOTS} slots, a page of {layout.ROW_SIZE} bytes for each",
        "The parent writes the header, the text, the places and the first word of a row",
        "the next seven are the others",
        ", ".join(f"{number} {word}" for number, word in enumerate(layout.PHASES)) + ".",
        "Of the user that the child belongs to; 2^64-1 is unknown",
    ],
)
def test_numbers_of_the_scoreboard(sentence: str) -> None:
    """Sizes, offsets and phases of the page are the program's."""
    assert (layout.UNKNOWN, layout.COUNTERS, len(layout.SETTINGS)) == (2**64 - 1, 8, 9)
    assert layout.MAGIC.to_bytes(8, "little") == b"UPPERD\0\3"
    assert layout.ROW_FIELDS[0] == "tell"
    assert "0, 3; the last is the version of the layout" in " ".join(SECTIONS["Scoreboard"].split())
    assert sentence in " ".join(SECTIONS["Scoreboard"].split())


def test_outcomes_are_documented() -> None:
    """The page has every outcome by its number, and no other."""
    text = SECTIONS["Scoreboard"].split("Outcomes:")[1]
    assert re.findall(r"^\.It (\d+)(?: Cm (\w+))?$", text, re.MULTILINE) == [
        (str(number), word) for number, word in enumerate(layout.OUTCOMES)
    ]


def test_units_are_documented() -> None:
    """Every field with a unit is in one line of the page's units, and no other field is."""
    text = SECTIONS["Scoreboard"].split("\nUnits:\n")[1].split(".El")[0]
    units = {what: names.split(" , ") for what, names in re.findall(r"^\.It (.*)\n\.Va (.*)$", text, re.MULTILINE)}
    named = [name for names in units.values() for name in names]
    every = {*layout.HEADER_FIELDS, *layout.CHILD_FIELDS}
    assert len(named) == len(set(named))
    assert set(named) == {name for name in every if re.search("_usec$|^bytes_|^max_bytes$|^pid_started$", name)}
    for what, names in units.items():
        unit = "_usec" if "microseconds" in what else ""
        assert all(name.endswith(unit) for name in names)


def _read_as_described(data: bytes, offset: int, table: list[tuple[int, str]]) -> dict[str, int]:
    return {name: int.from_bytes(data[offset + at : offset + at + 8], sys.byteorder) for at, name in table}


def test_reader_that_knows_only_the_page(tmp_path: Path) -> None:
    """A program that reads a scoreboard by the page finds what was written, in the units of the page."""
    path = tmp_path / "scoreboard"
    board = Scoreboard(str(path), slots=3)
    board.describe("1.2.3", ["unix:/a", "tcp:[::1]:9"], ["undecodable"])
    board.claim()
    slot, place, words = board.claim()
    board.born(slot, 4321)
    before = time.monotonic_ns() // 1000
    place[layout.LISTENER], place[layout.HANDED], place[layout.CONNECTED] = 1, 1, layout.now_usec()
    place[layout.PEER_UID], place[layout.PEER_GID], place[layout.PEER_PID] = 1000, 1001, 4711
    child = Row(words, ["undecodable"])
    child.begin()
    child.received(5)
    child.sent(6)
    child.finish(layout.Outcome.DONE)
    child.release()
    data = path.read_bytes()
    header = _read_as_described(data, 0, _table("The header, by offset:"))
    assert abs(header["started_unix_usec"] / 1e6 - time.time()) < 60
    assert abs(header["started_usec"] - before) < 60e6
    assert (header["slots"], header["listeners"], header["forked"]) == (3, 2, 1)
    assert data[1024:4096].rstrip(b"\0") == b"1.2.3\nupperd\n\nunix:/a\ntcp:[::1]:9\nundecodable\n"
    told = _read_as_described(data, 4096 + 128 * slot, _table("A place, by offset"))
    row = _read_as_described(data, 528384 + 4096 * slot, _table("A row, by offset"))
    assert (told["pid"], told["generation"], told["listener"], told["handed"], row["finished"]) == (4321, 2, 1, 1, 1)
    assert (told["peer_uid"], told["peer_gid"], told["peer_pid"]) == (1000, 1001, 4711)
    assert (row["connections"], row["messages"], row["bytes_in"], row["bytes_out"]) == (1, 1, 5, 6)
    assert row["outcome"] == 1
    assert before <= told["connected_usec"] <= row["active_usec"] <= time.monotonic_ns() // 1000


# Examples


def _example(begin: str) -> str:
    [text] = re.findall(rf"\.Bd -literal -offset indent\n({re.escape(begin)}(?:.*\n)*?)\.Ed", SECTIONS["EXAMPLES"])
    return str(text).replace(r"\e", "\\")


def test_program_of_the_page_runs(tmp_path: Path) -> None:
    """The page's program that reads the rows does so."""
    path = tmp_path / "scoreboard"
    board = Scoreboard(str(path), slots=3)
    for pid in (4320, 4321):
        slot, place, row = board.claim()
        board.born(slot, pid)
    place[layout.HANDED] = row[layout.CONNECTIONS] = 1
    code = _example("with open(").replace("/run/upperd/state/scoreboard", str(path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("4320 waits 0\n4321 busy 1\n", "")


def test_command_of_the_page_runs(tmp_path: Path) -> None:
    """The page's command that reads one number of the scoreboard does so."""
    path = tmp_path / "scoreboard"
    board = Scoreboard(str(path), slots=1)
    board["connections"] = 12345
    command = _example("$ od ").removeprefix("$ ").replace("/run/upperd/state/scoreboard", str(path)).split()
    assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == "12345"
