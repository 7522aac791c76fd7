"""The figures for Prometheus, as its own parser reads them."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from upperd.ctl import view
from upperd.ctl.prometheus import METRICS, exposition
from upperd.ctl.usage import Usage
from upperd.server import layout
from upperd.server.scoreboard import Scoreboard

FIELDS = {
    "started_unix_usec": ("upperd_start_time_seconds", {}, 10**6),
    "max_children": ("upperd_max_children", {}, 1),
    "max_queue": ("upperd_max_queue", {}, 1),
    "queued": ("upperd_queued_connections", {}, 1),
    "queued_users": ("upperd_queued_users", {}, 1),
    "spare_children": ("upperd_wanted_spare_children", {}, 1),
    "connections_per_child": ("upperd_connections_per_child", {}, 1),
    "max_children_per_user": ("upperd_max_children_per_user", {}, 1),
    "drain_timeout_usec": ("upperd_drain_timeout_seconds", {}, 10**6),
    "idle_timeout_usec": ("upperd_idle_timeout_seconds", {}, 10**6),
    "max_lifetime_usec": ("upperd_max_lifetime_seconds", {}, 10**6),
    "max_bytes": ("upperd_max_bytes", {}, 1),
    "forked": ("upperd_children_forked_total", {}, 1),
    "ended": ("upperd_children_ended_total", {}, 1),
    "crashed": ("upperd_children_crashed_total", {}, 1),
    "cut": ("upperd_children_cut_total", {}, 1),
    "killed": ("upperd_children_killed_total", {}, 1),
    "overdue": ("upperd_children_overdue_total", {}, 1),
    "stopped": ("upperd_children_stopped_total", {}, 1),
    "fork_failures": ("upperd_fork_failures_total", {}, 1),
    "connections": ("upperd_connections_total", {}, 1),
    "waited": ("upperd_connections_waited_total", {}, 1),
    "handed_again": ("upperd_connections_handed_again_total", {}, 1),
    "lost": ("upperd_connections_lost_total", {}, 1),
    "refused": ("upperd_connections_refused_total", {}, 1),
    "refused_access": ("upperd_connections_refused_by_reason_total", {"reason": "access"}, 1),
    "refused_user": ("upperd_connections_refused_by_reason_total", {"reason": "user"}, 1),
    "refused_rate": ("upperd_connections_refused_by_reason_total", {"reason": "rate"}, 1),
    "ended_idle": ("upperd_connections_ended_by_limit_total", {"limit": "idle"}, 1),
    "ended_lifetime": ("upperd_connections_ended_by_limit_total", {"limit": "lifetime"}, 1),
    "ended_bytes": ("upperd_connections_ended_by_limit_total", {"limit": "bytes"}, 1),
    "ended_access": ("upperd_connections_ended_by_limit_total", {"limit": "access"}, 1),
    "unanswered": ("upperd_datagrams_unanswered_total", {}, 1),
    "unanswered_size": ("upperd_datagrams_unanswered_by_reason_total", {"reason": "size"}, 1),
    "unanswered_full": ("upperd_datagrams_unanswered_by_reason_total", {"reason": "full"}, 1),
    "messages": ("upperd_messages_total", {}, 1),
    "bytes_in": ("upperd_received_bytes_total", {}, 1),
    "bytes_out": ("upperd_sent_bytes_total", {}, 1),
    "records_lost": ("upperd_log_records_lost_total", {}, 1),
}  # fmt: skip
"""The metric of a field of the header, and the divisor of its value."""
INTERNAL = {
    "magic", "pid", "pid_started", "phase", "started_usec", "slots", "listeners", "denied_uid", "drain_end_usec",
}  # fmt: skip


def parsed(text: str) -> dict[str, Metric]:
    """The families that Prometheus's parser finds, by name; its names of counters lack their _total."""
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(text: str, name: str, labels: dict[str, str] | None = None) -> float:
    """The only sample with this name and these labels."""
    samples = parsed(text)[name.removesuffix("_total")].samples
    wanted = {"name": "upperd", **(labels or {})}
    return float(next(s.value for s in samples if s.name == name and s.labels == wanted))


@pytest.fixture
def board(tmp_path: Path) -> Scoreboard:
    """A scoreboard whose figures are all different, with a busy child and two spare ones."""
    board = Scoreboard(str(tmp_path / "scoreboard"))
    for number, field in enumerate(FIELDS):
        board[field] = 1000 * number + 123
    # A whole is never less than its parts, whatever the scoreboard says.
    board["refused"] = sum(board[f"refused_{reason}"] for reason in ("access", "user", "rate"))
    board["unanswered"] = board["unanswered_size"] + board["unanswered_full"]
    board.describe("1.2", ["unix:/a", 'tcp:"b"\\'], ["undecodable", "answers"])
    for pid, handed in ((71, 1), (72, 0), (73, 0)):
        slot, place, _ = board.claim()
        board.born(slot, pid)
        place[layout.HANDED] = handed
    return board


def view_of(board: Scoreboard, state: int = view.RUNNING) -> view.DaemonView:
    daemon = view.DaemonView(str(board.path))
    daemon.state = state
    return daemon


def test_every_field_is_a_metric(board: Scoreboard) -> None:
    """Every field of the scoreboard's header is a metric with its value in the base unit, or listed as internal."""
    assert set(FIELDS) | INTERNAL == {name for name in layout.HEADER_FIELDS if not name.startswith("counter_")}
    text = exposition(view_of(board))
    for field, (name, labels, divisor) in FIELDS.items():
        assert value(text, name, labels) == board[field] / divisor


def test_living_children_are_added(board: Scoreboard) -> None:
    """The work of living children counts, as in the snapshot."""
    _, row = next(iter(board.living()))
    row[layout.CONNECTIONS], row[layout.FIRST_COUNTER] = 5, 7
    text = exposition(view_of(board))
    assert value(text, "upperd_connections_total") == board["connections"] + 5
    assert value(text, "upperd_handler_counter_total", {"counter": "undecodable"}) == 7
    assert value(text, "upperd_handler_counter_total", {"counter": "answers"}) == 0
    assert value(exposition(view_of(board)), "upperd_children", {"state": "busy"}) == 1
    assert value(exposition(view_of(board)), "upperd_children", {"state": "spare"}) == 2


def test_form(board: Scoreboard) -> None:
    """Each metric has its help and its type before its samples; a counter, and nothing else, ends in _total."""
    text = exposition(view_of(board))
    assert re.findall(r"^# HELP (\S+) .*\n# TYPE \1 (?:gauge|counter)\n(?=\1[{ ])", text, re.MULTILINE) == [
        name for name in (metric.name for metric in METRICS) if f"# HELP {name} " in text
    ]
    assert text.endswith("\n")
    for family in parsed(text).values():
        assert family.type == ("counter" if family.samples[0].name.endswith("_total") else "gauge")
        assert family.documentation.endswith(".")


def test_labels_are_escaped(board: Scoreboard) -> None:
    """Quotes, backslashes and control characters in a label are escaped correctly."""
    board.describe("1\x1b", ['tcp:"b"\\', "x\x07"], ['"{\n'])
    text = exposition(view_of(board))
    assert text.replace("\n", "").isprintable()
    addresses = [sample.labels["address"] for sample in parsed(text)["upperd_listener_info"].samples]
    assert addresses == ['tcp:"b"\\', r"x\x07"]
    assert parsed(text)["upperd_build_info"].samples[0].labels == {"name": "upperd", "version": r"1\x1b"}


def test_a_daemon_that_stopped(board: Scoreboard) -> None:
    """A daemon that does not run is down and has no children; its counters keep their last values."""
    text = exposition(view_of(board, view.NOT_RUNNING))
    assert value(text, "upperd_up") == 0
    assert value(text, "upperd_children", {"state": "busy"}) == value(text, "upperd_children", {"state": "spare"}) == 0
    assert value(text, "upperd_phase", {"phase": "stopped"}) == 1
    assert value(text, "upperd_connections_total") == board["connections"]


def test_no_scoreboard(tmp_path: Path) -> None:
    """A daemon that never ran is only reported as down; if its state is unknown, that is NaN."""
    daemon = view.DaemonView(str(tmp_path / "upperd" / "scoreboard"))
    assert list(parsed(exposition(daemon))) == ["upperd_up"]
    assert value(exposition(daemon), "upperd_up") == 0
    daemon.state = view.UNKNOWN
    assert math.isnan(value(exposition(daemon), "upperd_up"))


def test_two_daemons(board: Scoreboard, tmp_path: Path) -> None:
    """The metrics of two daemons, in one folder of textfiles, differ in the daemons' names."""
    other = Scoreboard(str(tmp_path / "other"))
    other.describe("1.2", ["unix:/b"], [], "upperd@shout")
    series = [
        {(s.name, *s.labels.items()) for family in parsed(text).values() for s in family.samples}
        for text in (exposition(view_of(board)), exposition(view_of(other)))
    ]
    assert not series[0] & series[1]
    assert all(("name", "upperd@shout") in each for each in series[1])


def test_processes(board: Scoreboard) -> None:
    """Memory is that of the parent and of its children; processor time includes the children that have ended."""
    board["pid"] = 70
    daemon = view_of(board)
    daemon.usages = {
        70: Usage(1000, 500, 1_000_000, 2_000_000, 250_000, 500_000),
        71: Usage(30, 3, 1, 1, 0, 0),
        72: Usage(40, 4, 1, 1, 0, 0),
    }
    text = exposition(daemon)
    assert value(text, "upperd_resident_memory_bytes", {"process": "parent"}) == 1000
    assert value(text, "upperd_resident_memory_bytes", {"process": "children"}) == 70
    assert value(text, "upperd_proportional_memory_bytes", {"process": "children"}) == 7
    assert value(text, "upperd_cpu_seconds_total", {"mode": "user"}) == 1.25
    assert value(text, "upperd_cpu_seconds_total", {"mode": "system"}) == 2.5
    daemon.usages[72] = daemon.usages[72]._replace(pss_bytes=None)
    text = exposition(daemon)
    assert [s.labels["process"] for s in parsed(text)["upperd_proportional_memory_bytes"].samples] == ["parent"]
