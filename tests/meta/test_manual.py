"""upperctl(1) and the program say the same."""

import re
from pathlib import Path

from upperd import ctl

ROOT = Path(__file__).parents[2]
CTL_MANUAL = (ROOT / "man/upperctl.1").read_text()


def _exit_statuses(*modules: str) -> set[int]:
    """Every EX_ constant and `status` of an error class in the source of these modules."""
    found = set()
    for name in modules:
        source = (ROOT / f"upperd/{name}.py").read_text()
        found |= {int(number) for number in re.findall(r"^(?:EX_[A-Z]+|    status) = (\d+)", source, re.MULTILINE)}
    return found


def test_exit_statuses_of_upperctl_are_documented() -> None:
    """Every exit status of upperctl stands in its manual."""
    documented = {int(number) for number in re.findall(r"^\.It (\d+)$", CTL_MANUAL, re.MULTILINE)}
    assert _exit_statuses("ctl", "client") <= documented


def test_commands_of_upperctl_are_documented() -> None:
    """Every command and option of upperctl stands in its manual."""
    usage = ctl._make_parser().format_help()
    for command in ("send", "status", "stats"):
        assert command in usage
        assert f"Cm {command}" in CTL_MANUAL
    assert [flag for flag in ("socket", "tcp", "file", "json", "version") if f"Fl -{flag}" not in CTL_MANUAL] == []
