"""The promises of the options: each has a name, a type, a range; a wrong one is named, in the file too."""

import contextlib
import io
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from upperd.service import cli, command_line, log, options
from upperd.service.command_line import make_parser
from upperd.service.options import OPTIONS, ConfigError, Option, OptionError, Options, flag, read_config

RANGED = [option for option in OPTIONS if "low" in option.metadata]
TEXTS = [option.name for option in OPTIONS if type(option.default) is str]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Where a test writes its file."""
    return tmp_path / "upperd.toml"


def check(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit status of `upperd --check-config` with these words."""
    monkeypatch.setattr(sys, "argv", ["upperd", "--check-config", *words])
    return cli.main()


def changed(option: Option, value: object) -> Options:
    """The options with one changed."""
    chosen: dict[str, Any] = {option.name: value}
    return Options(**chosen)


@pytest.mark.parametrize("option", RANGED, ids=lambda option: option.name)
def test_range(option: Option) -> None:
    """A number is taken at either end of its range and refused just outside, with name, value and range."""
    low, high = option.metadata["low"], option.metadata["high"]
    assert getattr(changed(option, low), option.name) == low
    assert getattr(changed(option, high), option.name) == high
    for value in (low - 1, high + 1):
        with pytest.raises(OptionError, match=f"^{flag(option.name)} is {value}: it must be from .* to "):
            changed(option, value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_no_number_at_all(value: float) -> None:
    """What is no number of seconds is no drain time-out."""
    with pytest.raises(OptionError, match="drain-timeout"):
        Options(drain_timeout=value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_children", True), ("max_children", 4.0), ("max_children", "4"), ("spare_children", False),
        ("drain_timeout", True), ("drain_timeout", "30"), ("no_socket", 1), ("no_fallback", "yes"), ("socket", 7),
        ("log_level", None),
    ],
)  # fmt: skip
def test_type(name: str, value: object) -> None:
    """A value of another type is refused with the name, and true is not the number 1."""
    with pytest.raises(OptionError, match=f"^{flag(name)} is .*: it must be "):
        Options(**{name: value})


@pytest.mark.parametrize("name", [name for name in TEXTS if name != "log_level"])
@pytest.mark.parametrize("text", ["a\nb", "a\0b"])
def test_text_is_one_line(name: str, text: str) -> None:
    """A text with a line break or a zero in it is refused."""
    with pytest.raises(OptionError, match=f"^{flag(name)} is .* text of one line"):
        Options(**{name: text})


def test_choices() -> None:
    """A log level that there is not is refused with those that there are."""
    with pytest.raises(OptionError, match="log-level is 'loud': it must be one of error, warning, info, debug"):
        Options(log_level="loud")
    [option] = [option for option in OPTIONS if option.name == "log_level"]
    assert option.metadata["choices"] == tuple(log.LEVELS)


def test_options_stay_as_they_were_given() -> None:
    """No option can be changed, removed or invented once the options are checked."""
    found = Options(max_children=5)
    with pytest.raises(AttributeError):
        found.max_children = 6
    with pytest.raises(AttributeError):
        del found.max_children
    with pytest.raises(AttributeError):
        found.brand_new = 1  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="brand_new"):
        Options(brand_new=1)
    assert (found.max_children, found == Options(max_children=5), found == Options()) == (5, True, False)


@given(st.from_regex("0?[0-8]{2,4}") | st.text("0178", max_size=5) | st.text(max_size=4))
def test_socket_mode(text: str) -> None:
    """Permissions are three octal digits, or these after a zero, and not for nobody."""
    assert options._is_mode(text) == bool(re.fullmatch("0?(?!000)[0-7]{3}", text))


@pytest.mark.parametrize("address", ["localhost:0", "127.0.0.1:65535", "[::1]:9999", "some.name:80"])
def test_address(address: str) -> None:
    """An address is HOST:PORT, with brackets around the host of IPv6."""
    assert Options(tcp=address).tcp == address


@pytest.mark.parametrize(
    "address", ["localhost", "localhost:", ":9999", "localhost:65536", "localhost:-1", "localhost:http", "a:\uff11",
                pytest.param("a:" + "9" * 5000, id="very long")]
)  # fmt: skip
def test_wrong_address(address: str) -> None:
    """Anything else is refused with an example of what would be right."""
    with pytest.raises(OptionError, match="it must be HOST:PORT, such as localhost:9999"):
        Options(tcp=address)
    with pytest.raises(OptionError, match="udp is .*it must be HOST:PORT"):
        Options(udp=address)


def test_no_socket() -> None:
    """--no-socket needs --tcp, --udp or --datagram, and excludes --socket."""
    for other in ({"tcp": "localhost:0"}, {"udp": "localhost:0"}, {"datagram": "/x"}):
        assert Options(no_socket=True, **other).no_socket
    with pytest.raises(OptionError, match="needs --tcp"):
        Options(no_socket=True)
    with pytest.raises(OptionError, match="exclude each other"):
        Options(no_socket=True, socket="/x", tcp="localhost:0")


def test_tcp_allow_remote() -> None:
    """--tcp-allow-remote needs --tcp or --udp."""
    assert Options(udp="0.0.0.0:0", tcp_allow_remote=True).tcp_allow_remote
    assert Options(tcp="0.0.0.0:0", tcp_allow_remote=True).tcp_allow_remote
    with pytest.raises(OptionError, match="--tcp-allow-remote needs --tcp HOST:PORT"):
        Options(tcp_allow_remote=True)


@pytest.mark.parametrize(
    ("first", "second"),
    [("socket", "scoreboard"), ("socket", "pid_file"), ("scoreboard", "pid_file")],
)
def test_one_file_for_two_purposes(first: str, second: str) -> None:
    """Two options may not name one file, nor one of them the lock of the other."""
    both: dict[str, Any] = {first: "/run/x/y", second: "/run/x/../x/y"}
    lock: dict[str, Any] = {first: "/run/x/y", second: "/run/x/y.lock"}
    for chosen in (both, lock):
        with pytest.raises(OptionError, match="are one file"):
            Options(**chosen)


def test_one_file_of_an_odd_name() -> None:
    """The name of the file that two options name is quoted, whatever is in it."""
    with pytest.raises(OptionError, match=r"are one file, '/run/\\x1b\[2J': choose"):
        Options(socket="/run/\x1b[2J", pid_file="/run/\x1b[2J")


@pytest.mark.parametrize("name", TEXTS)
def test_nothing_is_no_text(monkeypatch: pytest.MonkeyPatch, config: Path, name: str) -> None:
    """An empty text, such as an unset variable of the shell, is refused and does not stand for the default."""
    assert check(monkeypatch, f"--{flag(name)}", "") == 64
    config.write_text(f'{flag(name)} = ""\n')
    assert check(monkeypatch, "--config", str(config)) == 78


def test_parser_gives_what_was_given() -> None:
    """A flag that is not given is absent, so that it cannot win over the file."""
    assert vars(make_parser().parse_args([])) == {}
    words = ["--max-children", "5", "--no-fallback", "--drain-timeout", "2.5", "--socket", "/x"]
    assert vars(make_parser().parse_args(words)) == {
        "max_children": 5, "no_fallback": True, "drain_timeout": 2.5, "socket": "/x",
    }  # fmt: skip


FLAGS = ["--config", "--check-config", "--inetd", "--daemonize", "--help", "--version", "-h", "--sock", "--", "-"]
NAMES = st.sampled_from([*FLAGS, *(f"--{flag(option.name)}" for option in OPTIONS)])
WORDS = st.sampled_from(["", "5", "-5", "2.5", " 7 ", "1_0", "0x1", "inf", "info", "loud", "/x", "a=b", "root", "é"])
PAIRS = st.tuples(NAMES, st.sampled_from([" ", "="]), WORDS).map(lambda pair: pair[0] + pair[1] + pair[2])
LINES = st.lists(NAMES | PAIRS | PAIRS | WORDS | st.text(max_size=4), max_size=5)
GOOD = st.one_of(
    *(
        st.sampled_from([f"--{flag(option.name)}" + end for end in ends])
        for option in OPTIONS
        for ends in [
            [""] if type(option.default) is bool else [f"{between}{option.default or 7}" for between in " ="]
        ]
    )
)


def outcome(parse: Callable[[list[str]], dict[str, Any]], words: list[str]) -> object:
    """What a parser makes of a line: all that it returns, in order, or how it ends, and what it says."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            # By its text: no number is equal to itself that is none.
            return repr(list(parse(words).items()))
    except (OptionError, SystemExit) as end:
        return type(end), str(end), said.getvalue()
    except Exception as error:
        return type(error)


@given(st.lists(GOOD, max_size=5) | LINES)
@example(["--inetd", "--daemonize"])
@example(["--socket"])
@example(["--socket="])
@example(["--socket=--"])
@example(["--max-children", "\u0667", "--max-children=8"])
@example(["--deny-user=a", "--deny-user", "b"])
def test_plain_lines_need_no_argparse(items: list[str]) -> None:
    """Whatever the line, the loop that reads a plain one and argparse make the same of it."""
    for words in (items, [word for item in items for word in item.split(" ", 1)]):
        assert outcome(cli.parse, words) == outcome(command_line.parse, words)


@given(st.lists(GOOD, max_size=5))
def test_a_good_line_is_plain(items: list[str]) -> None:
    """A line of options, each with a value of its own kind, is read without argparse."""
    assert cli._parse_plain([word for item in items for word in item.split(" ", 1)]) is not None


@given(st.lists(st.text(st.characters(exclude_characters="\0")) | st.text("a1_@%+=:,./-' \"\\\\\n$é"), max_size=5))
def test_words_joined_for_a_reload(words: list[str]) -> None:
    """The command line reaches a reload word by word, whatever is in the words."""
    joined = cli.join(words)
    assert shlex.split(joined) == words
    assert joined == shlex.join(words)


def test_every_option_is_a_flag_with_help() -> None:
    """--help names every option, and the default of each that has one."""
    text = " ".join(make_parser().format_help().split())
    for option in OPTIONS:
        assert f"--{flag(option.name)}" in text
        if type(option.default) in (int, float):
            assert f"(default: {option.default:g})" in text


def test_file(config: Path) -> None:
    """Every option can stand in the file under its flag's name, and whole seconds need no point."""
    config.write_text(
        'socket = "/x/é"\ntcp = "localhost:1"\nno-fallback = true\nmax-children = 5\nspare-children = 2\n'
        'connections-per-child = 3\ndrain-timeout = 4\nscoreboard = "/s"\nlog-level = "debug"\nno-socket = false\n'
    )
    assert Options(**read_config(str(config))) == Options(
        socket="/x/é", tcp="localhost:1", no_fallback=True, max_children=5, spare_children=2,
        connections_per_child=3, drain_timeout=4.0, scoreboard="/s", log_level="debug",
    )  # fmt: skip


def test_empty_file(config: Path) -> None:
    """An empty file changes nothing."""
    config.touch()
    assert Options(**read_config(str(config))) == Options()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("max-childern = 5", "no option 'max-childern'; is it 'max-children'?"),
        ("max_children = 5", "no option 'max_children'; is it 'max-children'?"),
        ("zzz = 5", "no option 'zzz'"),
        ("[upperd]\nmax-children = 5", "no option 'upperd'"),
        ("max-children = true", "max-children is True: it must be a whole number"),
        ("max-children = 4.0", "max-children is 4.0: it must be a whole number"),
        ("max-children = 0", "max-children is 0: it must be from 1 to 4096"),
        ("drain-timeout = false", "drain-timeout is False: it must be a number"),
        ("drain-timeout = inf", "drain-timeout is inf: it must be from 0 to 86400"),
        ("no-socket = 1", "no-socket is 1: it must be true or false"),
        ("socket = ['/x']", "socket is ['/x']: it must be text"),
        ("socket = '/x", "not TOML: "),
        ("max-children", "not TOML: "),
    ],
)
def test_wrong_file(config: Path, text: str, complaint: str) -> None:
    """What is wrong in the file is said with the file's name, and the nearest key where there is one."""
    config.write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_config(str(config))
    assert str(raised.value).startswith(f"{config}: {complaint}")


@pytest.mark.parametrize(
    "value", ["0x" + "f" * 4000, "[0b" + "1" * 20000 + "]"], ids=["thousands of digits", "and in a list"]
)
@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_value_too_large_to_show(config: Path, option: Option, value: str) -> None:
    """A number of more digits than Python shows is refused like any other wrong value."""
    config.write_text(f"{flag(option.name)} = {value}\n")
    with pytest.raises(ConfigError, match=f"{flag(option.name)} is too large to show: it must be "):
        read_config(str(config))


def test_tables_too_deep_to_show(config: Path) -> None:
    """A value of thousands of tables, one in another, is refused like any other wrong value."""
    config.write_text(f"socket.{'.'.join('a' * 5000)} = 1\n")
    with pytest.raises(ConfigError, match="socket is too large to show: it must be text"):
        read_config(str(config))


def test_file_is_not_utf8(config: Path) -> None:
    """A file in another encoding is refused with its name."""
    config.write_bytes(b'socket = "/\xff"\n')
    with pytest.raises(ConfigError, match=r"upperd\.toml: not TOML"):
        read_config(str(config))


def test_file_cannot_be_read(tmp_path: Path) -> None:
    """A file that is missing or is a folder is refused with its name and the reason."""
    with pytest.raises(ConfigError, match="none: No such file"):
        read_config(str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="Is a directory"):
        read_config(str(tmp_path))


def test_flags_win(config: Path) -> None:
    """A flag wins over the file, the file over the default."""
    config.write_text("max-children = 5\nspare-children = 2\n")
    flags = vars(make_parser().parse_args(["--max-children", "6"]))
    merged = Options(**{**read_config(str(config)), **flags})
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
        ("deny-user = [-1]", "deny-user is -1: it must be a name, or a number from 0 to 4294967294"),
        (f"allow-group = {[*range(2000)]}", "allow-group has 2000 names: at most 1024"),
        ("socket-mode = '0999'", "socket-mode is '0999': it must be octal"),
        ("tcp = 'nowhere'", "tcp is 'nowhere': it must be HOST:PORT"),
        ("max-bytes = -1", "max-bytes is -1: it must be from 0 to 9223372036854775807"),
    ],
)
def test_value_in_the_file_that_means_nothing(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, says: str
) -> None:
    """A value in the file that is wrong by itself is the file's error: 78, and the file is named first."""
    config.write_text(f"{line}\n")
    assert check(monkeypatch, "--config", str(config)) == 78
    assert f"{config}: {says}" in capsys.readouterr().err


def test_file_and_flags_together(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What options demand of each other is asked of flags and file together, not of the file alone."""
    config.write_text("no-socket = true\n")
    assert check(monkeypatch, "--config", str(config), "--tcp", "localhost:0") == 0


def test_defaults_are_within_their_ranges() -> None:
    """The defaults need no operator, and suit a machine of 2 cores and 2 GiB."""
    assert Options() == Options(max_children=64, spare_children=8, connections_per_child=1, drain_timeout=30.0)
    assert {option.name for option in RANGED} == {
        "max_children", "spare_children", "connections_per_child", "drain_timeout", "idle_exit",
        "max_children_per_user", "max_rate_per_user", "idle_timeout", "max_lifetime", "max_bytes",
        "ready_fd",
    }  # fmt: skip
    ranges = {option: (option.metadata["low"], option.metadata["high"]) for option in RANGED}
    outside = [option.name for option, (low, high) in ranges.items() if not low <= option.default <= high]
    assert outside == ["ready_fd"]  # none
    assert options.flag("max_children") == "max-children"
