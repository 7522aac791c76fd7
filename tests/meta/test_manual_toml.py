"""upperd.toml(5) and the program say the same."""

import re
from pathlib import Path

import pytest

from upperd.base import paths
from upperd.server import limits
from upperd.service import guard, options, overdue, rates, reload
from upperd.service.options import OPTIONS, Option, Options, flag, read_config

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "man/upperd.toml.5").read_text()
DESCRIPTION, REST = PAGE.split(".Sh FILES\n")
SECTIONS = dict(re.findall(r"^\.S[sh] (.*)\n((?:.*\n)*?)(?=\.S[sh] |\Z)", PAGE, re.MULTILINE))
ENTRIES = dict(re.findall(r"^\.It Cm (\S+) No = .*\n((?:.*\n)*?)(?=\.It |\.El)", DESCRIPTION, re.MULTILINE))
"""By its key: what stands below it."""
FILES = re.findall(r"\.Bd -literal -offset indent\n((?:[a-z-]+ = .*\n)+)\.Ed", PAGE)
"""Every example of a file."""
ACCOUNTS = ("socket_owner", "socket_group")


def _kind(option: Option) -> str:
    """The words of the page for what an option takes."""
    low, high = option.metadata.get("low"), option.metadata.get("high")
    if option.metadata.get("choices"):
        return f"One of {', '.join(option.metadata['choices'])}."
    if type(option.default) is int:
        return f"Whole number, {low} to {high}."
    if type(option.default) is float:
        return f"Number, {low:.10g} to {high:.10g}."
    if type(option.default) is bool:
        return "True or false."
    if type(option.default) is tuple:
        return "List of names and numbers."
    return "Name or number." if option.name in ACCOUNTS else "Text."


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_key_is_described(option: Option) -> None:
    """Every key has a text, and after it what it takes, its range, its default, and whether a reload takes it over."""
    lines = ENTRIES[flag(option.name)].splitlines()
    kind = lines.index(_kind(option))
    assert kind > 0
    [default] = [line.removeprefix("Default: ") for line in lines[kind:] if line.startswith("Default: ")]
    if type(option.default) is bool:
        assert default == "false."
    elif option.default in ("", ()) or option.default < option.metadata.get("low", option.default):
        assert not re.match(r"\d+\.$|true|false", default)
    else:
        assert default == (f"{option.default:.10g}." if type(option.default) is float else f"{option.default}.")
    assert lines[-1] == f"Reload: {'yes' if option.name in reload.CHANGEABLE else 'no'}."


def test_no_key_is_invented() -> None:
    """The page has the keys of the program, each once, and no other, wherever it names one."""
    known = {flag(option.name) for option in OPTIONS}
    assert re.findall(r"^\.It Cm (\S+) No = ", DESCRIPTION, re.MULTILINE) == list(ENTRIES)
    assert set(ENTRIES) == known
    named = {word for line in re.findall(r"^\.(?:It )?Cm (.*)$", PAGE, re.MULTILINE) for word in line.split()}
    assert {word for word in named if re.fullmatch("[a-z-]{2,}", word)} <= known


def test_reload_decides_about_every_key() -> None:
    """What the page says of reloads is about all settings: each is changed by one, or takes a restart."""
    fixed = {"no_fallback" if name == "fallback" else name for name in reload.FIXED}
    assert {option.name for option in OPTIONS} == {*reload.CHANGEABLE, *fixed}


@pytest.mark.parametrize("text", FILES)
def test_example_is_valid(tmp_path: Path, text: str) -> None:
    """Every example of a file in the page is one."""
    config = tmp_path / "upperd.toml"
    # The names in it are nobody's on this host.
    config.write_text(text.replace('"staff"', '"root"').replace('"mallory"', "1"))
    Options(**read_config(str(config)))


def test_there_are_examples() -> None:
    """The page has examples, and defaults that it gives reasons for, which are the program's."""
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
        f"at most {guard.LONGEST_LIST} in a list",
        f"at most {rates.LONGEST_PENALTY:g} seconds or what one connection costs",
        f"{rates.LOOKS_A_SECOND} times a second at most",
        f"remembers {rates.MOST_USERS} users, and refuses {guard.PENALTIES} at one time",
        f"sent in pieces of {limits.PIECE // 1024} KiB",
        f"has not ended {overdue.GRACE_SECONDS:g} seconds later",
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
    """What a wrong file is answered with stands in the page."""
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
