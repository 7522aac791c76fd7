"""The manual and the program say the same."""

import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

from upperd import ctl, layout, options, reporter
from upperd.observer import End

ROOT = Path(__file__).parents[2]
MANUAL = (ROOT / "man/upperd.8").read_text()
CTL_MANUAL = (ROOT / "man/upperctl.1").read_text()
OTHERS = ["config", "check_config", "inetd", "daemonize"]
"""Options of the command line that are no keys of the file."""
PLAIN = re.sub(r"[^A-Za-z0-9_]+", " ", MANUAL).split()


@pytest.mark.parametrize("option", [option.name for option in fields(options.Options)] + OTHERS)
def test_option_is_documented(option: str) -> None:
    """Every option of the program stands in the manual, in its synopsis and with a text, and with its default."""
    assert len(re.findall(rf"Fl -{options.flag(option)}\b", MANUAL)) >= 2
    default = {field.name: field.default for field in fields(options.Options)}.get(option)
    if type(default) in (int, float):
        entry = MANUAL[MANUAL.index(f".It Fl -{options.flag(option)} ") :].split(".It ")[1]
        assert f"default {default:g}" in entry


def test_no_option_is_invented() -> None:
    """The manual names no option that the program has not."""
    known = {options.flag(option.name) for option in fields(options.Options)}
    known |= {options.flag(name) for name in OTHERS} | {"version", "help"}
    assert set(re.findall(r"Fl -([a-z-]+)", MANUAL)) <= known


def test_scoreboard_is_documented() -> None:
    """Every field of the scoreboard stands in the manual, in the order of the layout, and every outcome."""
    section = " ".join(MANUAL[MANUAL.index(".Ss Scoreboard") :].split())
    header = [section.index(name) for name in layout.HEADER_FIELDS if name != "magic"]
    assert len(header) == len(layout.HEADER_FIELDS) - 1
    slots = section[section.index("the slots of 32 words") :]
    assert [name for name in layout.SLOT_FIELDS if name not in slots] == []
    assert [name for name in layout.OUTCOMES if name not in section] == []
    assert [name for name in layout.PHASES if name not in section] == []


def _events() -> set[str]:
    """The events that the program logs, read from its source."""
    events = set()
    for path in (ROOT / "upperd").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "write":
                events |= {
                    argument.value
                    for argument in node.args[1:2]
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
                }
    return events | {"end"}


def test_events_are_documented() -> None:
    """Every event of the log stands in the manual, and no other."""
    section = MANUAL[MANUAL.index(".Ss Log") : MANUAL.index(".Ss Scoreboard")]
    assert set(re.findall(r"^\.It ([a-z]+)$", section, re.MULTILINE)) == _events()


def test_record_fields_are_documented() -> None:
    """Every field of a child's record stands in the manual by its name in the journal."""
    words = (0,) * len(layout.SLOT_FIELDS)
    written = {f"UPPERD_{name.upper()}" for name in reporter._fields(End(1, 0, None, words))}
    written |= {"UPPERD_MAXRSS_KB", "UPPERD_USER_USEC", "UPPERD_SYSTEM_USEC", "UPPERD_EVENT"}
    assert written <= set(PLAIN)


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGIO"])
def test_signals_are_documented(signal: str) -> None:
    """Every signal that means something stands in the manual."""
    assert signal in MANUAL[MANUAL.index(".Ss Signals") : MANUAL.index(".Ss Notification")]


def _exit_statuses(*modules: str) -> set[int]:
    """Every EX_ constant and `status` of an error class in the source of these modules."""
    found = set()
    for name in modules:
        source = (ROOT / f"upperd/{name}.py").read_text()
        found |= {int(number) for number in re.findall(r"^(?:EX_[A-Z]+|    status) = (\d+)", source, re.MULTILINE)}
    return found


def test_exit_statuses_are_documented() -> None:
    """Every exit status of both programs stands in its manual."""
    documented = {int(number) for number in re.findall(r"^\.It (\d+)$", MANUAL, re.MULTILINE)}
    assert _exit_statuses("cli", "daemon", "child", "inetd", "daemonize") <= documented
    documented = {int(number) for number in re.findall(r"^\.It (\d+)$", CTL_MANUAL, re.MULTILINE)}
    assert _exit_statuses("ctl", "client") <= documented


def test_commands_of_upperctl_are_documented() -> None:
    """Every command and option of upperctl stands in its manual."""
    usage = ctl._make_parser().format_help()
    for command in ("send", "status", "stats"):
        assert command in usage
        assert f"Cm {command}" in CTL_MANUAL
    assert [flag for flag in ("socket", "tcp", "file", "json", "version") if f"Fl -{flag}" not in CTL_MANUAL] == []
