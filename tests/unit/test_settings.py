"""The promises of the settings: what the launcher writes is what the parent reads."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upperd.service import cli, settings
from upperd.service.manager import Manager
from upperd.service.options import OPTIONS, OptionError, Options
from upperd.service.settings import Settings

VALUES = {
    "str": st.text(st.characters(exclude_characters="\0")),
    "int": st.integers(0, 2**63),
    "float": st.floats(0, 1e6),
    "bool": st.booleans(),
}


def values(found: Settings) -> dict[str, object]:
    """Every setting, the defaults too."""
    return {name: getattr(found, name) for name in Settings.__annotations__}


@given(st.fixed_dictionaries({name: VALUES[kind] for name, kind in Settings.__annotations__.items()}))
def test_words_round_trip(chosen: dict[str, object]) -> None:
    """Settings that go over a command line as words come out as they were, each of its type."""
    written = Settings()
    for name, value in chosen.items():
        setattr(written, name, value)
    read = settings.parse(written.words())
    assert values(read) == chosen
    assert {name: type(value) for name, value in values(read).items()} == {n: type(v) for n, v in chosen.items()}


def test_defaults_are_not_said() -> None:
    """Settings that nobody changed need no words, and no words give them back."""
    untouched = Settings()
    untouched.max_children = Settings.max_children
    assert untouched.words() == []
    assert values(settings.parse([])) == values(Settings())


def test_a_value_may_hold_an_equals_sign() -> None:
    """Only the first equals sign of a word divides it."""
    assert settings.parse(["socket=/tmp/a=b"]).socket == "/tmp/a=b"


@pytest.mark.parametrize("word", ["", "socket", "=x", "no-socket=1", "words=1", "__init__=1"])
def test_a_word_that_is_no_setting(word: str) -> None:
    """A word that is no setting is an error that shows it and says how to start upperd."""
    with pytest.raises(ValueError, match="is not a setting: start upperd by its command") as raised:
        settings.parse(["tcp=localhost:1", word])
    assert repr(word) in str(raised.value)


@pytest.mark.parametrize("word", ["max_children=many", "drain_timeout=", "watchdog_usec=1.5"])
def test_a_value_of_the_wrong_type(word: str) -> None:
    """A value that is no number is an error where there must be one."""
    with pytest.raises(ValueError, match=r"could not convert|invalid literal"):
        settings.parse([word])


def test_passed_sockets() -> None:
    """Passed sockets are listed with their descriptors and their names, in their order."""
    found = Settings()
    found.listeners = "3=first:4=:5=a=b"
    assert found.passed() == [(3, "first"), (4, ""), (5, "a=b")]
    assert Settings().passed() == []


def test_passed_sockets_survive_the_launcher() -> None:
    """What the manager passed reaches the parent as it came."""
    manager = Manager()
    manager.listeners = [(3, "upperd.socket"), (4, ""), (5, "unknown")]
    written = cli.make_settings(Options(), manager)
    assert settings.parse(written.words()).passed() == manager.listeners


AS_NUMBERS = {
    "allow_user": ("tuple", "str"),
    "allow_group": ("tuple", "str"),
    "deny_user": ("tuple", "str"),
    "socket_mode": ("str", "int"),
    "socket_owner": ("str", "int"),
    "socket_group": ("str", "int"),
}
"""Options that the launcher looks up, and their types as options and as settings."""


def test_same_names_as_options() -> None:
    """Every option is a setting of the same name and type, but for --no-fallback, and for what becomes numbers."""
    options = {option.name: type(option.default).__name__ for option in OPTIONS}
    assert options.pop("no_fallback") == "bool"
    kinds = {name: kind for name, kind in Settings.__annotations__.items() if name in options}
    assert {name: (options.pop(name), kinds.pop(name)) for name in AS_NUMBERS} == AS_NUMBERS
    assert options == kinds


def test_same_defaults_as_options() -> None:
    """An option that nobody gave reaches the parent with its default."""
    found = settings.parse(cli.make_settings(Options(), Manager()).words())
    same = [option for option in OPTIONS if option.name not in ("no_fallback", "socket", *AS_NUMBERS)]
    assert {option.name: getattr(found, option.name) for option in same} == {o.name: o.default for o in same}
    assert (found.default_socket, found.fallback) == (True, "localhost:9999")
    assert (found.allow_user, found.allow_group, found.deny_user) == ("", "", "")
    assert (found.socket_mode, found.socket_owner, found.socket_group) == (0, -1, -1)


def test_accounts_reach_the_parent_as_numbers() -> None:
    """Users and groups are looked up by the launcher: the parent gets numbers, each once, and the mode from octal."""
    given_options = Options(
        allow_user=("root", "1000", "0"), allow_group=("root",), deny_user=("4294967294",), socket_mode="0666",
        socket_owner="root", socket_group="7",
    )  # fmt: skip
    found = settings.parse(cli.make_settings(given_options, Manager()).words())
    assert settings.numbers(found.allow_user) == [0, 1000]
    assert (settings.numbers(found.allow_group), settings.numbers(found.deny_user)) == ([0], [2**32 - 2])
    assert (found.socket_mode, found.socket_owner, found.socket_group) == (0o666, 0, 7)


def test_options_reach_the_parent() -> None:
    """An option that was given reaches the parent as it was given."""
    given_options = Options(
        socket="/x/y", tcp="[::1]:0", max_children=4096, spare_children=7, connections_per_child=1_000_000_000,
        drain_timeout=0.0, scoreboard="/x/z", log_level="debug", no_fallback=True, max_children_per_user=3,
        udp="localhost:1", datagram="/x/d", max_rate_per_user=0.5, idle_timeout=1.5, max_lifetime=60.0, max_bytes=2**40,
    )  # fmt: skip
    found = settings.parse(cli.make_settings(given_options, Manager()).words())
    for option in OPTIONS:
        if option.name not in ("no_fallback", *AS_NUMBERS):
            assert getattr(found, option.name) == getattr(given_options, option.name)
    assert (found.default_socket, found.fallback) == (False, "")


@pytest.mark.parametrize("package", ["sdnotify", "upperd", "no_such_package"])
def test_where_a_package_lies(package: str) -> None:
    """The launcher finds a package where an import would, and nothing where there is none."""
    spec = importlib.util.find_spec(package)
    assert cli._folder_of(package) == (os.path.dirname(str(spec.origin)) if spec else "")


def test_what_the_parent_needs_is_missing(tmp_path: Path) -> None:
    """Where sdnotify is not installed the launcher says so, with and without a manager, and no traceback."""
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from upperd.service import cli; sys.exit(cli.main())"
    package = Path(cli.__file__).parents[2]
    for manager in ({}, {"NOTIFY_SOCKET": str(tmp_path / "none")}):
        command = [sys.executable, "-IS", "-c", code, str(package), "--socket", str(tmp_path / "s")]
        done = subprocess.run(command, env=manager, capture_output=True, text=True)
        assert (done.returncode, done.stderr.splitlines()[0]) == (
            64, "upperd: upperd needs the Python package sdnotify: install it",
        )  # fmt: skip


@pytest.mark.parametrize("name", ["socket", "listeners", "arguments"])
def test_a_word_too_long_to_hand_over(name: str) -> None:
    """A value longer than the kernel lets a program have is refused by its name, and nothing is changed before."""
    before, found = dict(os.environ), Settings()
    setattr(found, name, "é" * 65536)
    with pytest.raises(OptionError, match=f"^{name} is longer than 131071 bytes: shorten it"):
        cli._lean_command(found)
    assert dict(os.environ) == before


def test_the_longest_word_is_handed_over() -> None:
    """A word just as long as the check allows is one that the kernel takes, and one more byte is not."""
    command = [sys.executable, "-c", "", "x" * cli._LONGEST_WORD]
    assert subprocess.run(command).returncode == 0
    with pytest.raises(OSError, match="Argument list too long"):
        subprocess.run([*command[:-1], "x" * (cli._LONGEST_WORD + 1)])
