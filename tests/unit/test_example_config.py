"""The example configuration file, which is installed with every line commented out."""

import re
from pathlib import Path

from upperd.service.options import OPTIONS, Options, flag, read_config

EXAMPLE = Path(__file__).parents[2] / "systemd/upperd.toml"
SWITCHES = {"no_socket", "no_fallback", "store_listeners", "ready_fd"}
"""Options that belong into the unit, or exclude others."""


def _uncommented(text: str) -> str:
    return "\n".join(re.findall(r"(?m)^# ([a-z-]+ = .*)$", text))


def test_example_changes_nothing() -> None:
    """As installed, the example sets no option."""
    assert read_config(str(EXAMPLE)) == {}


def test_example_is_valid(tmp_path: Path) -> None:
    """Uncommented, every line of the example is valid, its defaults are true, and no option is missing."""
    text = EXAMPLE.read_text()
    # No user of this host has the names in it.
    config = tmp_path / "upperd.toml"
    known = _uncommented(text).replace('"upperd"', '"root"')
    config.write_text(known.replace("/opt/shout", str(tmp_path)))
    values = read_config(str(config))
    Options(**values)
    assert set(values) == {option.name for option in OPTIONS} - SWITCHES
    texts = {name: value for name, value in values.items() if isinstance(value, (str, list))}
    assert texts.pop("log_level") == "info"
    assert {name: values[name] for name in values.keys() - texts} == {
        name: getattr(Options(), name) for name in values.keys() - texts
    }
    assert all(flag(name) in text for name in values)
