"""The promises of a reload's parts: what changes is named, what comes back of a check is settings or a reason."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from upperd import __version__
from upperd.service import cli, daemonize, recheck, reload
from upperd.service.reload import CHANGEABLE, FIXED, ReloadError, changes
from upperd.service.settings import Settings


def settings(**changed: object) -> Settings:
    """Settings with some values of their own."""
    made = Settings()
    for name, value in changed.items():
        setattr(made, name, value)
    return made


def test_every_option_is_changeable_or_fixed() -> None:
    """Each setting that comes from an option is either taken over by a reload or named as one that takes a restart."""
    from_the_manager = {"default_socket", "journal", "listeners", "arguments", "titles", "warning", "notify_socket"}
    from_the_manager |= {"watchdog_usec", "starter", "syslog"}
    assert set(CHANGEABLE) | set(FIXED) == set(Settings.__annotations__) - from_the_manager


def test_changes_are_named() -> None:
    """What differs is said by the option's name, old value and new value, and nothing else is said."""
    old, new = settings(max_children=64, tcp=""), settings(max_children=32, tcp="localhost:1")
    assert changes(old, new, CHANGEABLE) == "max-children 64 -> 32"
    assert changes(old, new, FIXED) == "tcp none -> localhost:1"
    assert changes(old, old, CHANGEABLE) == ""


def test_outcome_of_a_check() -> None:
    """Status 0 gives settings; another one gives the reason, a signal a reason of its own."""
    good = reload._outcome(0, f"{__version__}\nmax_children=7\nsocket=/a\vb\u2028c\n")
    assert (good.max_children, good.socket) == (7, "/a\vb\u2028c")
    for status, answer, reason in (
        (78 << 8, "no option 'x'\n", "^no option 'x'$"),
        (signal.SIGALRM, "", "signal 14"),
        (1 << 8, "", "exit status 1"),
        (0, "99.0\nmax_children=7\n", "was replaced by another version: restart it"),
        (0, f"{__version__}\nbrand_new=7\n", "was replaced by another version: restart it"),
    ):
        with pytest.raises(ReloadError, match=reason):
            reload._outcome(status, answer)


def test_check_as_a_program(tmp_path: Path) -> None:
    """The program that checks prints settings that parse, or a reason that the parent's one read can hold."""
    config = tmp_path / "upperd.toml"
    package = Path(recheck.__file__).parent
    path = os.pathsep.join([str(package.parents[1]), *filter(None, sys.path)])
    command = [sys.executable, "-I", "-S", str(package / "recheck.py"), path, f"--config '{config}'"]
    config.write_text("max-children = 7\n")
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "max_children=7" in done.stdout.splitlines()
    config.write_text(f'"{"x" * 200_000}" = 1\n')
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (78, "")
    assert len(done.stdout.encode()) < 65536


def test_command_line_of_a_daemon_in_the_background() -> None:
    """A reload of a daemon that --daemonize started reads the flags as they were given, the repeated ones, too."""
    flags = cli.parse(
        ["--allow-user=root", "--max-rate-per-user", "0.1", "--no-fallback", "--allow-user", "1", "--socket=/a b"]
    )
    made = Settings()
    daemonize._make_absolute(made, dict(flags))
    assert cli.parse(shlex.split(made.arguments)) == flags
    assert flags["allow_user"] == ("root", "1")
