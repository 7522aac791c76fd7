"""upperctl(1) agrees with the program."""

import re
from pathlib import Path

import pytest
from sources import ROOT, exit_statuses

from upperd.ctl import prometheus, stats, status, view
from upperd.ctl.parser import COMMANDS, make_parser
from upperd.ctl.rows import TOP
from upperd.ctl.usage import Usage
from upperd.server import layout
from upperd.server.scoreboard import Scoreboard

CTL_MANUAL = (ROOT / "man/upperctl.1").read_text()


def test_exit_statuses_of_upperctl_are_documented() -> None:
    """Every exit status of upperctl is in its manual."""
    documented = {int(number) for number in re.findall(r"^\.It (\d+)$", CTL_MANUAL, re.MULTILINE)}
    commands = (f"ctl/{name}" for name in ("output", "main", "parser", "send", "stats", "top"))
    assert exit_statuses(*commands, "client/finding", "client/client") <= documented


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_documented(command: str) -> None:
    """Every command of upperctl, and every option of it, is in its manual, in the synopsis and with a description."""
    assert f".It Cm {command}" in CTL_MANUAL
    synopsis = CTL_MANUAL[: CTL_MANUAL.index(".Sh DESCRIPTION")]
    forms = "".join(form for form in synopsis.split("\n.Nm upperctl\n") if f".Cm {command}" in form.split("\n"))
    assert forms
    for option in _options(command):
        shared = option in make_parser()[0].options()
        assert f"Fl {option[1:]}" in (synopsis if shared else forms) or option in ("-h", "-V")
        assert re.search(rf"^\.It Fl (?:\S , )?{option[1:]}\b", CTL_MANUAL, re.MULTILINE)


def _options(command: str) -> list[str]:
    """The options of a command, and those of upperctl itself: -c, --json."""
    parser, commands = make_parser()
    return [*parser.options(), *commands[command].options()]


def test_no_option_of_upperctl_is_invented() -> None:
    """The manual of upperctl names no option that no command has."""
    known = {option[1:] for command in COMMANDS for option in _options(command)} | {"-"}
    assert set(re.findall(r"\bFl (-[a-z-]+|[A-Za-z]\b)", CTL_MANUAL)) <= known


def daemon_view(folder: Path) -> view.DaemonView:
    """What upperctl sees of a daemon that has a child, a listener and a counter of the handler."""
    board = Scoreboard(str(folder / "scoreboard"))
    board.describe("1", ["unix:x"], ["undecodable"])
    slot, _, _ = board.claim()
    board.born(slot, 77)
    daemon = view.DaemonView(str(board.path))
    daemon.state = view.RUNNING
    return daemon


def test_metrics_are_documented(tmp_path: Path) -> None:
    """Every metric for Prometheus is in the manual in its order, with its labels and its help, and no other is."""
    section = CTL_MANUAL[CTL_MANUAL.index(".Ss Metrics for Prometheus") : CTL_MANUAL.index(".Ss Options")]
    found = re.findall(r"^\.It Va (upperd_\S+)(?: Pq (.*))?\n(.*)$", section, re.MULTILINE)
    assert [(name, text) for name, _, text in found] == [(metric.name, metric.help) for metric in prometheus.METRICS]
    daemon = daemon_view(tmp_path)
    daemon.usages = dict.fromkeys([daemon.header["pid"], 77], Usage(1, 1, 1, 1, 1, 1))
    labels = dict(re.findall(r"^(upperd_\w+)\{(.*)\}", prometheus.exposition(daemon), re.MULTILINE))
    for name, documented, _ in found:
        own = re.findall(r"[a-z]+", documented.replace("Va", ""))
        assert re.findall(r"(\w+)=", labels.get(name, "")) == ["name", *own]


def test_json_is_documented(tmp_path: Path) -> None:
    """The manual has every name in the JSON objects of status and stats; upperd(7) has the scoreboard's fields."""
    section = CTL_MANUAL[CTL_MANUAL.index(".It Fl -json") : CTL_MANUAL.index(".It Fl -once")]
    of_status, of_stats = (
        set(re.findall(r"\w+", "".join(re.findall("^.Va .*", text, re.M)))) for text in section.split("stats :")
    )
    daemon = daemon_view(tmp_path)
    data = stats.data(daemon)
    names = {*data, *data["children"][0]}  # type: ignore[index]
    assert names - {*layout.HEADER_FIELDS, *layout.CHILD_FIELDS, "undecodable"} - of_stats == set()
    assert set(status.data(daemon)) == of_status - {"Va"}


def test_fields_of_top_are_documented() -> None:
    """Every field that top sorts by is in the manual."""
    section = CTL_MANUAL[CTL_MANUAL.index(".It Fl -sort") : CTL_MANUAL.index(".It Fl -tcp")]
    assert re.findall(r"\b(?:" + "|".join(TOP) + r")\b", section) == [*TOP]
