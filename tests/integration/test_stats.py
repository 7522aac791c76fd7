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
from upperd.server.layout import BUSY, WAITING

# The layout as scoreboard.py documents it for readers in other languages.
HEADER_WORDS = (
    "magic", "pid", "pid_started", "phase", "started_usec", "started_unix_usec", "slots", "max_children",
    "spare_children", "connections_per_child", "drain_timeout_usec", "max_children_per_user", "idle_timeout_usec",
    "max_lifetime_usec", "max_bytes", "listeners", "poke_below", "guarded", "rules", "penalised", "denied_uid",
    "forked", "ended", "crashed", "cut", "killed", "overdue", "fork_failures", "passed", "records_lost", "connections",
    "messages", "bytes_in", "bytes_out", "undecodable", "refused", "refused_access", "refused_user", "refused_rate",
    "ended_idle", "ended_lifetime", "ended_bytes", "ended_access",
)  # fmt: skip
SLOT_WORDS = (
    "pid", "generation", "listener", "started_usec", "peer_uid", "peer_gid", "peer_pid", "connections", "messages",
    "bytes_in", "bytes_out", "undecodable", "refused", "refused_access", "refused_user", "refused_rate", "ended_idle",
    "ended_lifetime", "ended_bytes", "ended_access", "connected_usec", "active_usec", "outcome", "claimed_nsec",
    "rules", "idle_limit_usec", "expires_usec",
)  # fmt: skip
TEXT, STATES, TABLE, SLOTS = 1024, 4096, 36864, 4096
TOTALS = HEADER_WORDS[-13:-7]


class Board(NamedTuple):
    header: dict[str, int]
    text: list[str]
    slots: dict[int, dict[str, int]]
    """The slots that are in use, by their number."""
    states: bytes

    def total(self, name: str) -> int:
        """Of the children that have ended, and of the living."""
        return self.header[name] + sum(slot[name] for slot in self.slots.values())


def _read(daemon: Daemon) -> Board:
    data = (daemon.path.parent / "scoreboard").read_bytes()
    states = bytes(state & 0xFF for state in struct.unpack_from(f"={SLOTS}Q", data, STATES))
    text = data[TEXT:STATES].partition(b"\0")[0].decode().splitlines()
    header = dict(zip(HEADER_WORDS, struct.unpack_from(f"={len(HEADER_WORDS)}Q", data), strict=True))
    slots = {
        index: dict(zip(SLOT_WORDS, struct.unpack_from(f"={len(SLOT_WORDS)}Q", data, TABLE + index * 256), strict=True))
        for index, state in enumerate(states)
        if state
    }
    return Board(header, text, slots, states)


def test_layout_is_as_documented(folder: Path) -> None:
    """Any program can read the file: header, text, states and slots lie where the layout says."""
    with running(folder, "--max-children", "7", "--spare-children", "3", "--drain-timeout", "1.5") as daemon:
        board = _read(daemon)
    header = board.header
    assert header["magic"].to_bytes(8, "little") == b"UPPERD\0\1"
    assert header["pid"] == daemon.pid
    assert [header[name] for name in ("max_children", "spare_children", "connections_per_child")] == [7, 3, 1]
    assert header["drain_timeout_usec"] == 1_500_000
    assert board.text == [__version__, f"unix:{daemon.path} (bound)"]
    assert len({slot["pid"] for slot in board.slots.values()}) == 3
    assert all(slot["generation"] >= 1 for slot in board.slots.values())
    assert bytes(sorted(board.states, reverse=True)[:4]) == bytes((WAITING, WAITING, WAITING, 0))


def test_slot_of_a_connection(daemon: Daemon) -> None:
    """A busy slot tells who is served, since when, how much came in and went out, and what was not UTF-8."""
    with daemon.connect() as client:
        for message in (b"one", b"two\xff", b"\xff"):
            client.sendall(message)
            assert client.recv(16) == message.upper()
        slot = _serving(daemon, 8)
        board = _read(daemon)
        assert slot["pid"] in daemon.children()
        assert [slot[f"peer_{name}"] for name in ("uid", "gid", "pid")] == [os.geteuid(), os.getegid(), os.getpid()]
        assert [slot[name] for name in ("connections", "messages", "bytes_in", "bytes_out")] == [1, 3, 8, 8]
        assert board.header["started_usec"] <= slot["started_usec"] <= slot["connected_usec"] <= slot["active_usec"]
    wait_until(lambda: _read(daemon).header["ended"] == 1, "the child ends")
    assert _read(daemon).total("undecodable") == 2


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
        wait_until(lambda: _is_at_rest(daemon), "nobody is busy, and nobody is being forked")
        board = _read(daemon)
        assert {name: board.total(name) for name in TOTALS} == {
            "connections": 100, "messages": 100, "bytes_in": 400, "bytes_out": 400, "undecodable": 0, "refused": 0,
        }  # fmt: skip
        assert board.header["forked"] - board.header["ended"] == len(daemon.children()) == len(board.slots)
        assert board.header["crashed"] == 1


def _is_at_rest(daemon: Daemon) -> bool:
    header = _read(daemon).header
    # A slot is claimed before its child is forked, and counted after.
    return not _busy(daemon) and header["forked"] - header["ended"] == len(_read(daemon).slots)


def _busy(daemon: Daemon) -> list[dict[str, int]]:
    board = _read(daemon)
    return [slot for index, slot in board.slots.items() if board.states[index] == BUSY]


def _serving(daemon: Daemon, size: int) -> dict[str, int]:
    """The slot of the one connection under way, when the last of its `size` bytes has been counted."""

    def counted() -> dict[str, int] | None:
        busy = _busy(daemon)  # who has just ended stands there for a moment, too
        # A child may serve before its parent has written its pid; and to kill(2), pid 0 is our own process group.
        is_one = len(busy) == 1 and busy[0]["pid"] > 1 and busy[0]["outcome"] == 0 and busy[0]["bytes_in"] >= size
        return busy[0] if is_one and busy[0]["bytes_out"] == busy[0]["bytes_in"] else None

    slot = wait_until(counted, "one connection is under way, and counted")
    assert slot is not None
    return slot


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
    """A new daemon makes a new file: whoever has mapped the old one keeps its last figures."""
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
