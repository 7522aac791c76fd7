"""The settings: the parent reads what the launcher writes."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upperd.service import cli, settings
from upperd.service.flags import parse
from upperd.service.options import OPTIONS, OptionError, Options
from upperd.service.settings import Settings

TEXTS = st.text(st.characters(exclude_characters="\0"))
VALUES = st.one_of(
    TEXTS, st.integers(-1, 2**64), st.floats(0, 1e300), st.booleans(), st.lists(st.integers(0, 2**32)).map(tuple)
)
NAMES = st.text("abcdefghij_", min_size=1)


@given(st.dictionaries(NAMES, VALUES), st.lists(TEXTS).map(tuple))
def test_words_round_trip(values: dict[str, object], arguments: tuple[str, ...]) -> None:
    """Settings survive the way over a command line unchanged, each with its type."""
    written = Settings(**values)
    written.arguments = arguments
    read = settings.parse(written.words())
    assert vars(read) == {**values, "arguments": arguments}
    assert {name: type(value) for name, value in values.items()} == {name: type(vars(read)[name]) for name in values}


def test_words_are_for_people() -> None:
    """The words show a daemon's effective settings in ps(1); the launcher's command line follows them."""
    found = Settings(socket="/tmp/a=b", max_children=5, idle_timeout=0.5, no_socket=False, allow_user=(0, 7))
    found.deny_user, found.arguments = (), ("--socket", "/tmp/a=b", "--")
    assert found.words() == [
        "socket='/tmp/a=b'", "max_children=5", "idle_timeout=0.5", "no_socket=False", "allow_user=(0, 7)",
        "deny_user=()", "--", "--socket", "/tmp/a=b", "--",
    ]  # fmt: skip


@pytest.mark.parametrize("word", ["", "socket", "=x", "max_children=many", "drain_timeout=", "allow_user=(0, x)"])
def test_a_word_that_is_no_setting(word: str) -> None:
    """A word that is no setting is an error that shows it and says how to start upperd."""
    with pytest.raises(ValueError, match="is not a setting: run upperd, not this file") as raised:
        settings.parse(["max_children=1", word])
    assert repr(word) in str(raised.value)


def test_passed_sockets() -> None:
    """Passed sockets are listed with their descriptors and their names, in their order."""
    found = Settings(listeners="3=first:4=:5=a=b")
    assert found.passed() == [(3, "first"), (4, ""), (5, "a=b")]
    assert Settings().passed() == []


def test_fallback() -> None:
    """Without --no-fallback there is an address to replace an unusable default path, and no other path."""
    assert Settings(**vars(Options())).fallback == "localhost:9999"
    assert Settings(**vars(Options(no_fallback=True))).fallback == ""
    assert Settings(**vars(Options(socket="/x"))).fallback == ""


def test_what_reaches_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent gets every option's effective value, and what the manager said and passed."""
    monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
    monkeypatch.setenv("LISTEN_FDS", "2")
    monkeypatch.setenv("LISTEN_FDNAMES", "upperd.socket")
    monkeypatch.setenv("NOTIFY_SOCKET", "@a")
    words = [
        *("--socket", "/x/y", "--tcp=[::1]:0", "--max-children", "4096", "--idle-timeout=1.5", "--allow-user", "root"),
        *("--socket-mode=666", "--log-level=debug", "--reuse-unknown", "--max-queue=7"),
    ]
    options = cli.read_options(parse(words))
    found = settings.parse(cli.make_settings(options, words).words())
    for option in OPTIONS:
        assert getattr(found, option.name) == getattr(options, option.name)
    assert (found.max_children, found.max_children_per_user, found.max_queue) == (4096, 3584, 7)
    assert (found.allow_user, found.socket_mode, found.default_socket) == ((0,), 0o666, False)
    assert found.passed() == [(3, "upperd.socket"), (4, "unknown")]
    assert (found.notify_socket, found.watchdog_usec, found.starter, found.syslog) == ("@a", 0, 0, "")
    assert found.arguments == tuple(words)


@pytest.mark.parametrize("package", ["sdnotify", "upperd", "no_such_package"])
def test_where_a_package_lies(package: str) -> None:
    """The launcher finds a package where an import would, and nothing if there is none."""
    spec = importlib.util.find_spec(package)
    assert cli._folder_of(package) == (os.path.dirname(str(spec.origin)) if spec else "")


def test_what_the_parent_needs_is_missing(tmp_path: Path) -> None:
    """Without the package sdnotify the launcher says so, with and without a manager, without a traceback."""
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from upperd.service import cli; sys.exit(cli.main())"
    package = Path(cli.__file__).parents[2]
    for manager in ({}, {"NOTIFY_SOCKET": str(tmp_path / "none")}):
        command = [sys.executable, "-IS", "-c", code, str(package), "--socket", str(tmp_path / "s")]
        done = subprocess.run(command, env=manager, capture_output=True, text=True)
        assert (done.returncode, done.stderr.splitlines()[0]) == (
            64, "upperd: upperd needs the Python package sdnotify: install it",
        )  # fmt: skip


def test_more_than_can_be_handed_over() -> None:
    """Words that are longer than the kernel allows for a program are refused, and named as the reason."""
    found = Settings(ready_fd=0, socket="x" * 131072)
    with pytest.raises(OptionError, match="Argument list too long"):
        cli._become_parent(found)
