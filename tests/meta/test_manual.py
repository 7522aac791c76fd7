"""upperctl(1) and the program say the same."""

import re

import pytest
from sources import ROOT, exit_statuses

from upperd.ctl import main as ctl
from upperd.ctl import prometheus, view
from upperd.ctl.columns import SORTABLE
from upperd.ctl.usage import Usage
from upperd.server import layout
from upperd.server.layout import BUSY
from upperd.server.scoreboard import Scoreboard
from upperd.server.snapshot import Snapshot

CTL_MANUAL = (ROOT / "man/upperctl.1").read_text()


def test_exit_statuses_of_upperctl_are_documented() -> None:
    """Every exit status of upperctl stands in its manual."""
    documented = {int(number) for number in re.findall(r"^\.It (\d+)$", CTL_MANUAL, re.MULTILINE)}
    assert exit_statuses("commands/exits", "finding", "client") <= documented


@pytest.mark.parametrize("command", ctl.COMMANDS)
def test_command_is_documented(command: str) -> None:
    """Every command of upperctl, and every option of it, stands in its manual, in the synopsis and with a text."""
    assert f".It Cm {command}" in CTL_MANUAL
    synopsis = CTL_MANUAL[: CTL_MANUAL.index(".Sh DESCRIPTION")]
    assert f"\n.Cm {command}\n" in synopsis
    for option in _options(command):
        assert f"Fl {option[1:]}" in synopsis or option in ("-h", "-V")
        assert re.search(rf"^\.It Fl (?:\S , )?{option[1:]}\b", CTL_MANUAL, re.MULTILINE)


def _options(command: str) -> list[str]:
    """The options of a command, and those of upperctl itself: -c, --json."""
    parser = ctl.make_parser([command])
    chosen = next(action.choices[command] for action in parser._actions if isinstance(action.choices, dict))
    return [option for one in (parser, chosen) for action in one._actions for option in action.option_strings]


def test_no_option_of_upperctl_is_invented() -> None:
    """The manual of upperctl names no option that no command has."""
    known = {option[1:] for command in ctl.COMMANDS for option in _options(command)} | {"-"}
    assert set(re.findall(r"\bFl (-[a-z-]+|[A-Za-z]\b)", CTL_MANUAL)) <= known


def test_metrics_are_documented() -> None:
    """Every metric for Prometheus stands in the manual in its order, with its labels and its help, and no other."""
    section = CTL_MANUAL[CTL_MANUAL.index(".Ss Metrics for Prometheus") : CTL_MANUAL.index(".Ss Options")]
    found = re.findall(r"^\.It Va (upperd_\S+)(?: Pq (.*))?\n(.*)$", section, re.MULTILINE)
    assert [(name, text) for name, _, text in found] == [(metric.name, metric.help) for metric in prometheus.METRICS]
    board = Scoreboard()
    board.describe("1", ["unix:x"])
    board.claim(0, BUSY)
    sight = view.Sight("/nonexistent")
    sight.snapshot, sight.state = Snapshot(bytes(board._map)), view.RUNNING
    usage = dict.fromkeys([board["pid"], 0], Usage(1, 1, 1, 1, 1, 1))
    labels = dict(re.findall(r"^(upperd_\w+)\{(.*)\}", prometheus.exposition(sight, usage), re.MULTILINE))
    for name, documented, _ in found:
        assert re.findall(r"(\w+)=", labels.get(name, "")) == re.findall(r"[a-z]+", documented.replace("Va", ""))


def test_json_is_documented() -> None:
    """The names of the JSON object that are no fields of the scoreboard stand in the manual."""
    section = CTL_MANUAL[CTL_MANUAL.index(".It Fl -json") : CTL_MANUAL.index(".It Fl -once")]
    board = Scoreboard()
    board.claim(0, BUSY)
    data = view.stats_data(view.Sight("/nonexistent"), Snapshot(bytes(board._map)))
    names = {*data, *data["children"][0]}  # type: ignore[index]
    known = {*layout.HEADER_FIELDS, *layout.SLOT_FIELDS}
    assert [name for name in names - known if not re.search(rf"\b{name}\b", section)] == []


def test_fields_of_top_are_documented() -> None:
    """Every field that top sorts by stands in the manual."""
    section = CTL_MANUAL[CTL_MANUAL.index(".It Fl -sort") : CTL_MANUAL.index(".It Fl -tcp")]
    assert re.findall(r"\b(?:" + "|".join(SORTABLE) + r")\b", section) == [*SORTABLE]
