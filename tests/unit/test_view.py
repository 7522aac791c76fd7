"""The output of upperctl."""

from pathlib import Path

from upperd.ctl import stats, status, view
from upperd.server.layout import FIRST_COUNTER
from upperd.server.scoreboard import Scoreboard
from upperd.server.snapshot import read


def test_control_characters_are_escaped(tmp_path: Path) -> None:
    """Control characters in a scoreboard, or in its file's name, are shown as escapes."""
    path = str(tmp_path / "a\x1b[2J")
    assert "no scoreboard at" in status.text(view.DaemonView(path))
    assert status.text(view.DaemonView(path)).replace("\n", "").isprintable()
    Scoreboard(path).describe("1\x9b", ["unix:/b\x1b]0;c\x07", "unix:/é\u202e"], [])
    screen = status.text(view.DaemonView(path)).split("\n")
    assert [line for line in screen if not line.isprintable()] == []
    assert screen[0].startswith("upperd 1\\x9b: not running")
    assert [line.split(None, 1)[1] for line in screen if "listening" in line] == [
        "unix:/b\\x1b]0;c\\x07", "unix:/é\\u202e",
    ]  # fmt: skip


def test_queue_and_counters_are_shown(tmp_path: Path) -> None:
    """status shows how many connections wait, of how many users, the limit, and the handler's counters."""
    path = str(tmp_path / "scoreboard")
    board = Scoreboard(path)
    board.describe("1", [], ["undecodable", "answers"])
    board["max_queue"] = 1024
    board["counter_0"] = 7
    shown = [" ".join(line.split()) for line in status.text(view.DaemonView(path)).split("\n")]
    assert "queue 0 connections, at most 1024" in shown
    assert "served 0 connections, 0 messages, 0 B in, 0 B out, 7 undecodable" in shown
    board["queued"], board["queued_users"] = 300, 1
    assert "queue 300 connections of 1 user, at most 1024" in " ".join(status.text(view.DaemonView(path)).split())


def test_queue_and_counters_in_stats(tmp_path: Path) -> None:
    """stats, as a table and as JSON, has the queue and the handler's counters, in total and for each child."""
    path = str(tmp_path / "scoreboard")
    board = Scoreboard(path)
    board.describe("1", [], ["undecodable"])
    board["queued"], board["queued_users"], board["max_queue"] = 2, 2, 9
    slot, _, row = board.claim()
    board.born(slot, 77)
    row[FIRST_COUNTER] = 5
    daemon = view.DaemonView(path)
    snapshot = read(path)
    lines = stats.table(daemon).split("\n")
    assert lines[-2] == "queue: 2 connections of 2 users, at most 9"
    assert lines[-1].endswith(", 5 undecodable")
    data = stats.data(daemon)
    assert (data["undecodable"], data["queued"], data["max_queue"], data["counters"]) == (5, 2, 9, ["undecodable"])
    assert [(child["pid"], child["undecodable"]) for child in snapshot.children] == [(77, 5)]


def test_json_keeps_our_names(tmp_path: Path) -> None:
    """A counter of the handler with a name of the JSON object's own does not replace it."""
    path = str(tmp_path / "scoreboard")
    board = Scoreboard(path)
    board.describe("1.5", [], ["version", "busy"])
    assert (stats.data(view.DaemonView(path))["version"], stats.data(view.DaemonView(path))["busy"]) == ("1.5", 0)
