"""upperd.toml(5) agrees with the program."""

import re
from pathlib import Path

import pytest

from upperd.base import paths
from upperd.server import patrol, session
from upperd.service import kinds, options, policy
from upperd.service.options import OPTIONS, Option, Options, flag, read_config

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "man/upperd.toml.5").read_text()
DESCRIPTION, REST = PAGE.split(".Sh FILES\n")
SECTIONS = dict(re.findall(r"^\.S[sh] (.*)\n((?:.*\n)*?)(?=\.S[sh] |\Z)", PAGE, re.MULTILINE))
ENTRIES = dict(re.findall(r"^\.It Cm (\S+) No = .*\n((?:.*\n)*?)(?=\.It |\.El)", DESCRIPTION, re.MULTILINE))
"""The text below each key."""
FILES = re.findall(r"\.Bd -literal -offset indent\n((?:[a-z-]+ = .*\n)+)\.Ed", PAGE)
"""Every example of a file."""


def _kind(option: Option) -> str:
    """The page's words for the value of an option."""
    must, kind = option.kind.must, option.kind
    if must.startswith(("a whole number from ", "a number from ")):
        return must.removeprefix("a ").replace(" from ", ", ").capitalize() + "."
    if must.startswith("a time from "):
        return must.partition(" seconds,")[0].removeprefix("a ").replace(" from ", ", ").capitalize() + "."
    if kind is kinds.SWITCH or must.startswith("one of "):
        return must.capitalize() + "."
    if kind is kinds.FOLDERS:
        return "List of texts."
    if kind.is_list:
        return "List of names and numbers."
    return "Name or number." if kind in (kinds.USER, kinds.GROUP) else "Text."


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_key_is_described(option: Option) -> None:
    """Every key has a description with its value, its range, its default, and whether a reload takes it over."""
    lines = ENTRIES[flag(option.name)].splitlines()
    kind = lines.index(_kind(option))
    assert kind > 0
    [default] = [line.removeprefix("Default: ") for line in lines[kind:] if line.startswith("Default: ")]
    if option.kind is kinds.SWITCH:
        assert default == "false."
    elif option.shown:
        assert re.fullmatch(rf"{re.escape(option.shown)}( \(see .*|\.)", default)
    else:
        assert not re.match(r"\d+\.$|true|false", default)
    assert lines[-1] == f"Reload: {'yes' if option.reload else 'no'}."


def test_no_key_is_invented() -> None:
    """The page has the keys of the program, each once, and no other, wherever it names one."""
    known = {flag(option.name) for option in OPTIONS}
    assert re.findall(r"^\.It Cm (\S+) No = ", DESCRIPTION, re.MULTILINE) == list(ENTRIES)
    assert set(ENTRIES) == known
    named = {word for line in re.findall(r"^\.(?:It )?Cm (.*)$", PAGE, re.MULTILINE) for word in line.split()}
    assert {word for word in named if re.fullmatch("[a-z-]{2,}", word)} <= known


@pytest.mark.parametrize("text", FILES)
def test_example_is_valid(tmp_path: Path, text: str) -> None:
    """Every example file in the page is valid."""
    config = tmp_path / "upperd.toml"
    # No user of this host has the names in it.
    config.write_text(text.replace('"upperd"', '"root"'))
    Options(**read_config(str(config)))


def test_there_are_examples() -> None:
    """The page has examples, and gives reasons for defaults, which are the program's."""
    assert len(FILES) >= 4
    reasons = re.findall(r"^\.It Cm (\S+) No = (\S+)$", SECTIONS["CAVEATS"], re.MULTILINE)
    assert len(reasons) >= 4
    defaults = {flag(option.name): option.default for option in OPTIONS}
    assert [name for name, value in reasons if defaults[name] != float(value)] == []


@pytest.mark.parametrize(
    "sentence",
    [
        f"at most {paths.MAX_PATH} bytes",
        f"instead of listening on .Li {paths.FALLBACK_TCP} .",
        f"at most {kinds.LONGEST_LIST} in a list",
        f"remembers {policy.MOST_USERS} users",
        f"sent in pieces of {session.PIECE // 1024} KiB",
        f"has not ended {patrol.GRACE_SECONDS:g} seconds later",
        f"may be reached {'half a second' if patrol.LOOK_SECONDS == 0.5 else patrol.LOOK_SECONDS} late",
        f"Li 0.0.0.0:{paths.FALLBACK_TCP.partition(':')[2]} ,",
    ],
)
def test_numbers_are_the_programs(sentence: str) -> None:
    """The other numbers of the page are the program's."""
    assert sentence in " ".join(PAGE.split())


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("max-childrn = 1", "FILE: no option 'KEY'; is it 'OTHER'?"),
        ("max-children = [", "FILE: not TOML: REASON (at PLACE)"),
        ("max-children = 'x'", "FILE: KEY is VALUE: it must be ..."),
        ("socket = ''", "FILE: KEY is empty: leave it out for its default"),
        ("allow-user = ['nobody at all']", "FILE: KEY: no user 'NAME' on this host"),
    ],
)
def test_diagnostics_are_the_programs(tmp_path: Path, text: str, status: str) -> None:
    """The messages about a wrong file are in the page."""
    config = tmp_path / "upperd.toml"
    config.write_text(text)
    with pytest.raises(options.ConfigError) as caught:
        read_config(str(config))
    pattern = re.sub(r"FILE|KEY|OTHER|VALUE|REASON|PLACE|NAME|\\\.\\\.\\\.", ".+", re.escape(status))
    assert re.fullmatch(pattern, str(caught.value))
    assert f'.It "{status}"' in SECTIONS["DIAGNOSTICS"]


def test_example_that_is_installed_is_named() -> None:
    """The page names the commented example by the path that `make install` gives it."""
    assert "/etc/upperd/upperd.toml" in SECTIONS["FILES"]
    assert "The example that is installed" in SECTIONS["EXAMPLES"]
    assert "CONFIG=$SYSCONFDIR/upperd/upperd.toml\n" in (ROOT / "systemd/install.sh").read_text()
