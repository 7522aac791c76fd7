"""The configuration file: its keys are the options, and an error names the file."""

import sys
from pathlib import Path

import pytest

from upperd.service import cli
from upperd.service.flags import parse
from upperd.service.kinds import SWITCH
from upperd.service.options import OPTIONS, ConfigError, Option, Options, flag, read_config

TEXTS = [option.name for option in OPTIONS if option.kind is not SWITCH and option.kind.read is str]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The path at which a test writes its file."""
    return tmp_path / "upperd.toml"


def check(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit status of `upperd --check-config` with these words."""
    monkeypatch.setattr(sys, "argv", ["upperd", "--check-config", *words])
    return cli.main()


@pytest.mark.parametrize("name", TEXTS)
def test_nothing_is_no_text(monkeypatch: pytest.MonkeyPatch, config: Path, name: str) -> None:
    """An empty text, such as an unset variable of the shell, is refused and does not mean the default."""
    assert check(monkeypatch, f"--{flag(name)}", "") == 64
    config.write_text(f'{flag(name)} = ""\n')
    assert check(monkeypatch, "--config", str(config)) == 78


def test_file(config: Path) -> None:
    """Every option can be in the file under its flag's name, and whole seconds need no decimal point."""
    config.write_text(
        'socket = "/x/é"\ntcp = "localhost:1"\nno-fallback = true\nmax-children = 5\nspare-children = 2\n'
        'connections-per-child = 3\ndrain-timeout = 4\nscoreboard = "/s"\nlog-level = "debug"\nno-socket = false\n'
    )
    assert vars(Options(**read_config(str(config)))) == vars(Options(
        socket="/x/é", tcp="localhost:1", no_fallback=True, max_children=5, spare_children=2,
        connections_per_child=3, drain_timeout=4.0, scoreboard="/s", log_level="debug",
    ))  # fmt: skip


def test_empty_file(config: Path) -> None:
    """An empty file changes nothing."""
    config.touch()
    assert read_config(str(config)) == {}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("max-childern = 5", "no option 'max-childern'; is it 'max-children'?"),
        ("max_children = 5", "no option 'max_children'; is it 'max-children'?"),
        ("zzz = 5", "no option 'zzz'"),
        ("[upperd]\nmax-children = 5", "no option 'upperd'"),
        ("max-children = true", "max-children is True: it must be a whole number"),
        ("max-children = 4.0", "max-children is 4.0: it must be a whole number"),
        ("max-children = 0", "max-children is 0: it must be a whole number from 1 to 4096"),
        ("drain-timeout = false", "drain-timeout is False: it must be a time"),
        ("drain-timeout = inf", "drain-timeout is inf: it must be a time from 0 to 86400 seconds"),
        ("drain-timeout = '5x'", "drain-timeout is '5x': it must be a time from 0 to 86400 seconds, such as 30, 500ms"),
        ("socket-mode = 660", "socket-mode is 660: it must be octal, such as 0660, in quotes: \"0660\""),
        ("max-children = '64'", "max-children is '64': it must be a whole number from 1 to 4096, without quotes"),
        ("no-socket = 'true'", "no-socket is 'true': it must be true or false, without quotes"),
        ("pid-file = 7", "pid-file is 7: it must be text of one line, in quotes"),
        ("no-socket = 1", "no-socket is 1: it must be true or false"),
        ("socket = ['/x']", "socket is ['/x']: it must be text"),
        ("socket = '/x", "not TOML: "),
        ("max-children", "not TOML: "),
    ],
)
def test_wrong_file(config: Path, text: str, complaint: str) -> None:
    """An error in the file is reported with the file's name, and the nearest valid key if there is one."""
    config.write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_config(str(config))
    assert str(raised.value).startswith(f"{config}: {complaint}")


@pytest.mark.parametrize(
    "value", ["0x" + "f" * 4000, "[0b" + "1" * 20000 + "]"], ids=["thousands of digits", "and in a list"]
)
@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_value_too_large_to_show(config: Path, option: Option, value: str) -> None:
    """A number with more digits than Python prints is refused like any other wrong value."""
    config.write_text(f"{flag(option.name)} = {value}\n")
    with pytest.raises(ConfigError, match=f"{flag(option.name)} is too large to show: it must be "):
        read_config(str(config))


def test_tables_too_deep_to_show(config: Path) -> None:
    """A value of thousands of nested tables is refused like any other wrong value, if Python reads it."""
    config.write_text(f"socket.{'.'.join('a' * 5000)} = 1\n")
    with pytest.raises(ConfigError, match="socket is too large to show: it must be text|not TOML: .* 1000 parts"):
        read_config(str(config))


@pytest.mark.parametrize("line", ["socket-mode = 0660", "drain-timeout = 5s", "log-level = info"])
def test_quotes_are_missing(config: Path, line: str) -> None:
    """If quotes are missing, the message says so."""
    config.write_text(line)
    with pytest.raises(ConfigError, match=r"not TOML: .* \(at line 1, .*\): text needs quotes"):
        read_config(str(config))


def test_byte_order_mark(config: Path) -> None:
    """A byte order mark at the beginning of the file is ignored."""
    config.write_bytes(b"\xef\xbb\xbfmax-children = 5\n")
    assert read_config(str(config)) == {"max_children": 5}


def test_file_is_not_utf8(config: Path) -> None:
    """A file in another encoding is refused with its name, and the cure."""
    config.write_bytes(b'socket = "/\xff"\n')
    with pytest.raises(ConfigError, match=r"upperd\.toml: not UTF-8 at byte 12: save it as UTF-8"):
        read_config(str(config))


def test_file_cannot_be_read(tmp_path: Path) -> None:
    """A file that is missing or is a folder is refused with its name and the reason."""
    with pytest.raises(ConfigError, match="none: No such file or directory: correct the name, or create"):
        read_config(str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="Is a directory"):
        read_config(str(tmp_path))


def test_flags_win(config: Path) -> None:
    """A flag overrides the file, and the file overrides the default."""
    config.write_text("max-children = 5\nspare-children = 2\n")
    merged = cli.read_options(parse(["--max-children", "6", "--config", str(config)]))
    assert (merged.max_children, merged.spare_children, merged.drain_timeout) == (6, 2, 30.0)


def test_check_config(config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """--check-config says what is valid and exits 0; a wrong file is 78, a wrong flag 64."""
    config.write_text("max-children = 5\n")
    assert check(monkeypatch, "--config", str(config)) == 0
    assert f"{config} is valid" in capsys.readouterr().out
    assert check(monkeypatch, "--max-children", "0") == 64
    assert check(monkeypatch, "--max-children", "many") == 64
    assert check(monkeypatch, "--no-such-flag") == 64
    assert check(monkeypatch, "--max-child", "1") == 64
    config.write_text("max-children = 0\n")
    assert check(monkeypatch, "--config", str(config)) == 78
    assert str(config) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("deny-user = ['no-such-user']", "deny-user: no user 'no-such-user' on this host"),
        ("deny-user = [-1]", "deny-user is [-1]: it must be a list of names, or of numbers from 0 to 4294967294"),
        (f"allow-group = {[*range(2000)]}", "allow-group: 2000 names are too many: at most 1024"),
        ("socket-mode = '0999'", "socket-mode is '0999': it must be octal"),
        ("tcp = 'nowhere'", "tcp is 'nowhere': it must be HOST:PORT"),
        ("max-bytes = -1", "max-bytes is -1: it must be a whole number from 0 to 9223372036854775807"),
    ],
)
def test_value_in_the_file_that_means_nothing(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, says: str
) -> None:
    """A value in the file that is invalid by itself is the file's error: 78, and the file is named first."""
    config.write_text(f"{line}\n")
    assert check(monkeypatch, "--config", str(config)) == 78
    assert f"{config}: {says}" in capsys.readouterr().err


def test_file_and_flags_together(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Demands of options on each other are checked for flags and file together, not for the file alone."""
    config.write_text("no-socket = true\n")
    assert check(monkeypatch, "--config", str(config), "--tcp", "localhost:0") == 0
