"""The parts of a reload: differences are named, and a check returns settings or a reason."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from upperd import __version__
from upperd.server.loop import Loop
from upperd.server.scoreboard import Scoreboard
from upperd.service import cli, daemonize, recheck
from upperd.service.flags import parse
from upperd.service.log import Log
from upperd.service.options import OPTIONS, Options
from upperd.service.reload import Reload, ReloadError, changes, outcome
from upperd.service.settings import Settings
from upperd.service.subuids import read_ranges

VERSION = f"{__version__}\0\0"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The file that a check reads."""
    return tmp_path / "upperd.toml"


PATH = os.pathsep.join([str(Path(recheck.__file__).parents[2]), *filter(None, sys.path)])
CHECK = """
import sys
sys.path[:0] = sys.argv[1].split(":")
from upperd.service import recheck
status, said = recheck.check(sys.argv[2:], sys.argv[1], "")
sys.stdout.buffer.write(said.encode("utf-8", "surrogateescape"))
sys.exit(status)
"""


def check(*words: str) -> subprocess.CompletedProcess[str]:
    """Check in a process of its own, as a reload does, which writes the answer."""
    return subprocess.run([sys.executable, "-I", "-S", "-c", CHECK, PATH, *words], capture_output=True, text=True)


def import_handler(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the program that imports a handler, with these words of settings."""
    return subprocess.run([sys.executable, "-I", "-S", recheck.__file__, PATH, *words], capture_output=True, text=True)


def test_changes_are_named() -> None:
    """A difference is reported with the option's name, old value and new value, and nothing else is reported."""
    old = Settings(**vars(Options()))
    assert changes(old, Settings(max_children=32, spare_children=8)) == "max-children 64 -> 32"
    assert changes(old, Settings(tcp="localhost:1")) == "tcp none -> localhost:1"
    assert changes(old, Settings(allow_user=(0, 7), reuse_unknown=True, max_queue=1)) == (
        "allow-user none -> 0,7, reuse-unknown none -> true, max-queue 2048 -> 1"
    )
    assert changes(Settings(deny_user=(1,)), Settings(deny_user=())) == "deny-user 1 -> none"
    assert changes(old, old) == ""


def test_outcome_of_a_check() -> None:
    """Status 0 comes with settings, another one with the reason; a signal has a reason of its own."""
    reloadable, fixed = outcome(0, f"{VERSION}max_children=7\0max_queue=1\0\0socket='/a\vb\u2028c\n'")
    assert (vars(reloadable), vars(fixed)) == ({"max_children": 7, "max_queue": 1}, {"socket": "/a\vb\u2028c\n"})
    for status, answer, reason in (
        (78 << 8, "no option 'x'", "^no option 'x'$"),
        (signal.SIGALRM, "", "signal 14"),
        (1 << 8, "", "exit status 1"),
        (0, "99.0\0\0max_children=7\0\0tcp=''", "was replaced by another version: restart it"),
        (0, f"{VERSION}max_children=7", "was replaced by another version: restart it"),
        (0, f"{VERSION}max_children=many\0\0tcp=''", "was replaced by another version: restart it"),
        (0, "", "was replaced by another version: restart it"),
    ):
        with pytest.raises(ReloadError, match=reason):
            outcome(status, answer)


def test_check_that_succeeds(config: Path) -> None:
    """A check returns every option's effective value, with the reloadable ones apart, and the subordinate uids."""
    config.write_text('max-children = 7\nallow-user = ["root"]\nsocket = "/é"\n')
    done = check("--config", str(config))
    assert (done.returncode, done.stderr) == (0, "")
    reloadable, fixed = outcome(0, done.stdout)
    assert set(vars(reloadable)) == {option.name for option in OPTIONS if option.reload} | {"subordinate_uids"}
    assert set(vars(fixed)) == {option.name for option in OPTIONS if not option.reload}
    assert (reloadable.max_children, reloadable.max_children_per_user, reloadable.allow_user) == (7, 6, (0,))
    assert fixed.socket == "/é"
    assert reloadable.subordinate_uids == read_ranges()[0]


def test_check_that_fails(config: Path) -> None:
    """A check that fails returns a reason that fits into the parent's one read, and the launcher's exit status."""
    config.write_text(f'"{"x" * 200_000}" = 1\n')
    done = check("--config", str(config))
    assert (done.returncode, done.stderr) == (78, "")
    assert len(done.stdout.encode()) < 65536
    done = check("--no-such-option")
    assert (done.returncode, done.stdout) == (64, "no option '--no-such-option'")


def test_longest_answer(config: Path) -> None:
    """Three lists of the greatest length fit into the parent's one read."""
    lists = {name: [*range(2**32 - 1500 - 1024, 2**32 - 1500)] for name in ("allow-user", "allow-group")}
    lists["deny-user"] = [*range(10**9, 10**9 + 1024)]
    config.write_text("".join(f"{name} = {numbers}\n" for name, numbers in lists.items()))
    done = check("--config", str(config))
    assert (done.returncode, len(done.stdout) < 60_000) == (0, True)


HANDLERS = {
    "right": (0, "", "import socketserver\nprint('hello')\nclass H(socketserver.BaseRequestHandler): pass"),
    "broken": (78, "h.py:H: why", "raise ValueError('why')"),
    "other": (78, "H", "class H: pass"),
    "ends": (3, "its import ended the process with exit status 3", "import os\nos._exit(3)"),
    "killed": (70, "its import was ended by signal 9: does it block?", "import os\nos.kill(os.getpid(), 9)"),
}


@pytest.mark.parametrize("kind", HANDLERS)
def test_check_of_a_handler(tmp_path: Path, kind: str) -> None:
    """A check imports the handler anew in an interpreter of its own, and reports faults, whatever the module prints."""
    status, reason, text = HANDLERS[kind]
    (tmp_path / "h.py").write_text(text)
    done = check("--handler", f"{tmp_path}/h.py:H")
    assert (done.returncode, done.stderr) == (status, "hello\n" if kind == "right" else "")
    assert reason in done.stdout
    assert "\n" not in done.stdout
    if kind == "right":
        assert outcome(0, done.stdout)[1].handler == f"{tmp_path}/h.py:H"


@pytest.mark.parametrize("kind", ["right", "broken", "other"])
def test_program_that_imports_a_handler(tmp_path: Path, kind: str) -> None:
    """The program says nothing about a valid handler, and names a fault on standard output, which has nothing else."""
    status, reason, text = HANDLERS[kind]
    (tmp_path / "h.py").write_text(text)
    done = import_handler(f"handler='{tmp_path}/h.py:H'", "python_path=''", "import_path=''")
    assert (done.returncode, done.stderr) == (status, "hello\n" if kind == "right" else "")
    assert (reason in done.stdout, bool(done.stdout)) == (True, bool(reason))


def test_reload(config: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """A reload applies what it may, names what needs a restart, and changes nothing if the file is wrong."""
    words = ["--socket", "/x", "--config", str(config)]
    monkeypatch.setattr(sys, "argv", ["lean.py", str(Path(recheck.__file__).parents[2])])
    config.write_text("max-children = 9\n")
    found = Settings(**vars(cli.read_options(parse(words))), arguments=tuple(words))
    parent: Any = SimpleNamespace(loop=Loop(), board=Scoreboard(slots=8))
    followed: list[int] = []
    problems: list[str] = []
    reload = Reload(parent, found, Log(), lambda: followed.append(found.max_children), problems.append)
    for text, problem in (
        ("max-children = 7\ntcp = 'localhost:1'\nreuse-unknown = true\n", ""),
        ("max-children = 0\n", f"{config}: max-children is 0: it must be a whole number from 1 to 4096"),
    ):
        config.write_text(text)
        reload.begin()
        reload.begin()  # which is one more after the first
        while len(problems) < 2:
            parent.loop.turn(60)
        assert problems == [problem, problem]
        problems.clear()
    assert (followed, found.max_children_per_user, found.reuse_unknown, found.tcp) == ([7, 7], 6, True, "")
    said = capfd.readouterr().err
    assert "reload: max-children 9 -> 7, max-children-per-user 7 -> 6, reuse-unknown none -> true" in said
    assert said.count("reload: tcp none -> localhost:1: needs a restart, ignoring\n") == 2
    assert said.count("reload: the old settings stay: ") == 2


def test_command_line_of_a_daemon_in_the_background() -> None:
    """A reload of a daemon that --daemonize started reads the flags as they were given, repeated ones included."""
    flags = parse(
        ["--allow-user=root", "--max-rate-per-user", "0.1", "--no-fallback", "--allow-user", "1", "--socket=/a b"]
    )
    made = Settings(**vars(Options(**flags)))
    daemonize._make_absolute(made, dict(flags))
    assert parse([*made.arguments]) == flags
    assert flags["allow_user"] == ("root", "1")
