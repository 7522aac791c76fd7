"""The scoreboard: read by its documented layout, not by upperd's own reader."""

from __future__ import annotations

import os
import signal
import stat
import struct
from pathlib import Path
from typing import NamedTuple

import pytest
from running import Daemon, running, wait_until

from upperd import __version__

# The layout as upperd(7) documents it for readers in other languages.
OWN = tuple(f"counter_{number}" for number in range(8))
COUNTED = (
    "connections", "messages", "bytes_in", "bytes_out", "ended_bytes", "unanswered", "unanswered_size",
    "unanswered_full", *OWN,
)  # fmt: skip
HEADER_WORDS = (
    "magic", "pid", "pid_started", "phase", "started_usec", "started_unix_usec", "slots", "listeners", "max_children",
    "max_children_per_user", "max_queue", "spare_children", "connections_per_child", "drain_timeout_usec",
    "idle_timeout_usec", "max_lifetime_usec", "max_bytes", "denied_uid", "queued", "queued_users",
    "waited", "forked", "ended", "crashed", "cut", "killed", "overdue", "stopped", "handed_again", "lost",
    "fork_failures", "records_lost", "refused", "refused_access", "refused_user", "refused_rate", "ended_idle",
    "ended_lifetime", "ended_access", *COUNTED,
)  # fmt: skip
PLACE_WORDS = (
    "pid", "generation", "started_usec", "listener", "peer_uid", "peer_gid", "peer_pid", "handed", "connected_usec",
    "ending",
)  # fmt: skip
ROW_WORDS = ("tell", "finished", "active_usec", "outcome", *COUNTED)
TEXT, PLACES, PLACE, ROWS, PAGE, SLOTS = 1024, 4096, 128, 528384, 4096, 4096


class Board(NamedTuple):
    header: dict[str, int]
    text: list[str]
    rows: list[dict[str, int]]
    """Of the children that live: what stands in the place and in the row of each."""

    def total(self, name: str) -> int:
        """Of the children that have ended, and of the living."""
        return self.header[name] + sum(row[name] for row in self.rows)


def _read(daemon: Daemon) -> Board:
    data = memoryview((daemon.path.parent / "scoreboard").read_bytes())
    text = bytes(data[TEXT:PLACES]).partition(b"\0")[0].decode().splitlines()
    header = _words(HEADER_WORDS, data, 0)
    slots = [slot for slot in range(SLOTS) if any(data[PLACES + slot * PLACE :][:8])]
    rows = [
        _words(PLACE_WORDS, data, PLACES + slot * PLACE) | _words(ROW_WORDS, data, ROWS + slot * PAGE) for slot in slots
    ]
    return Board(header, text, rows)


def _words(names: tuple[str, ...], data: memoryview, offset: int) -> dict[str, int]:
    return dict(zip(names, struct.unpack_from(f"={len(names)}Q", data, offset), strict=True))


def test_layout_is_as_documented(folder: Path) -> None:
    """Any program can read the file: header, text, places and rows lie where the layout says."""
    with running(folder, "--max-children", "7", "--spare-children", "3", "--drain-timeout", "1.5") as daemon:
        board = _read(daemon)
    header = board.header
    assert header["magic"].to_bytes(8, "little") == b"UPPERD\0\3"
    assert header["pid"] == daemon.pid
    assert [header[name] for name in ("max_children", "spare_children", "connections_per_child")] == [7, 3, 1000]
    assert header["drain_timeout_usec"] == 1_500_000
    assert board.text == [__version__, "upperd", "", f"unix:{daemon.path} (bound)", "undecodable"]
    assert len({row["pid"] for row in board.rows}) == 3
    assert sorted(row["generation"] for row in board.rows) == [1, 2, 3]
    assert [row["handed"] for row in board.rows] == [0, 0, 0]


def test_row_of_a_connection(daemon: Daemon) -> None:
    """The row of a busy child tells who is served, since when, how much came and went, and what was not UTF-8."""
    with daemon.connect() as client:
        for message in (b"one", b"two\xff", b"\xff"):
            client.sendall(message)
            assert client.recv(16) == message.upper()
        row = _serving(daemon, 8)
        board = _read(daemon)
        assert row["pid"] in daemon.children()
        assert [row[f"peer_{name}"] for name in ("uid", "gid", "pid")] == [os.geteuid(), os.getegid(), os.getpid()]
        assert [row[name] for name in ("connections", "messages", "bytes_in", "bytes_out")] == [1, 3, 8, 8]
        assert board.header["started_usec"] <= row["started_usec"] <= row["connected_usec"] <= row["active_usec"]
    wait_until(lambda: not _busy(daemon), "the connection is over")
    assert _read(daemon).total(OWN[0]) == 2


@pytest.mark.parametrize("per_child", ["1", "7"])
def test_totals_add_up_with_a_crash(folder: Path, per_child: str) -> None:
    """After N connections the totals are exact at every moment of rest, also when a child was killed in its work."""
    with running(folder, "--connections-per-child", per_child) as daemon:
        for _ in range(60):
            assert daemon.ask(b"four") == b"FOUR"
        with daemon.held():
            os.kill(_serving(daemon, 4)["pid"], signal.SIGKILL)
            wait_until(lambda: _read(daemon).header["crashed"] == 1, "the crash is counted")
        for _ in range(39):
            assert daemon.ask(b"four") == b"FOUR"
        board = wait_until(lambda: _at_rest(daemon), "no child is busy, none has to be reaped, and none to be forked")
        assert board is not None
        assert {name: board.total(name) for name in COUNTED[:4]} == {
            "connections": 100, "messages": 100, "bytes_in": 400, "bytes_out": 400,
        }  # fmt: skip
        assert board.header["crashed"] == 1


def _at_rest(daemon: Daemon) -> Board | None:
    """What stands there when nothing happens any more, and every account of children is the same; None: not yet."""
    children, board = len(daemon.children()), _read(daemon)
    spare = sum(row["handed"] == 0 for row in board.rows)
    is_idle = all(row["handed"] == row["finished"] for row in board.rows)
    is_right = board.header["forked"] - board.header["ended"] == children == len(board.rows)
    return board if is_idle and is_right and spare == board.header["spare_children"] else None


def _busy(daemon: Daemon) -> list[dict[str, int]]:
    return [row for row in _read(daemon).rows if row["handed"] != row["finished"]]


def _serving(daemon: Daemon, size: int) -> dict[str, int]:
    """The row of the one connection under way, when the last of its `size` bytes has been counted."""

    def counted() -> dict[str, int] | None:
        busy = _busy(daemon)
        is_one = len(busy) == 1 and busy[0]["outcome"] == 0 and busy[0]["bytes_in"] >= size
        return busy[0] if is_one and busy[0]["bytes_out"] == busy[0]["bytes_in"] else None

    row = wait_until(counted, "one connection is under way, and counted")
    assert row is not None
    return row


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_figures_survive_the_daemon(daemon: Daemon, number: signal.Signals) -> None:
    """The last figures can be read when the daemon has ended, whether it was stopped or killed."""
    for _ in range(10):
        assert daemon.ask(b"abc") == b"ABC"
    daemon.signal(number)
    daemon.wait()
    board = _read(daemon)
    assert (board.total("connections"), board.total("bytes_in")) == (10, 30)
    assert board.header["phase"] == (3 if number == signal.SIGTERM else 1)


def test_who_may_read(daemon: Daemon) -> None:
    """The scoreboard is for the daemon's user and group (0640), its lock for the user alone (0600)."""
    modes = {name: stat.S_IMODE(os.stat(daemon.folder / name).st_mode) for name in ("scoreboard", "scoreboard.lock")}
    assert modes == {"scoreboard": 0o640, "scoreboard.lock": 0o600}


def test_reader_of_the_old_file_is_not_disturbed(folder: Path) -> None:
    """A new daemon makes a new file: a reader of the old one keeps its last figures."""
    with running(folder) as first:
        assert first.ask(b"x") == b"X"
        first.stop()
    with open(folder / "scoreboard", "rb") as old:
        with running(folder) as second:
            assert _read(second).header["connections"] == 0
        assert struct.unpack_from(f"={len(HEADER_WORDS)}Q", old.read())[HEADER_WORDS.index("connections")] == 1


def test_service_needs_no_scoreboard(folder: Path) -> None:
    """Service goes on without a scoreboard file, where none can be made, and the log says so."""
    (folder / "taken").mkdir()
    with running(folder, "--scoreboard", str(folder / "taken")) as daemon:
        assert daemon.ask(b"x") == b"X"
        assert "no scoreboard at" in daemon.log
