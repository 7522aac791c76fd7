"""The options: each has a name, a type and a range, and an error names the wrong one."""

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upperd.base import paths
from upperd.server.layout import SLOTS
from upperd.server.limits import seven_eighths
from upperd.service import kinds, log
from upperd.service.options import OPTIONS, OptionError, Options, flag

RANGES = {
    "max_children": (1, SLOTS), "max_children_per_user": (0, SLOTS), "spare_children": (1, SLOTS),
    "max_queue": (1, 65536), "connections_per_child": (1, 10**9), "max_rate_per_user": (0, 1e6),
    "idle_timeout": (0, 366 * 86400.0), "max_lifetime": (0, 366 * 86400.0), "max_bytes": (0, 2**63 - 1),
    "drain_timeout": (0, 86400.0), "idle_exit": (0, 86400.0), "ready_fd": (3, 1048575),
}  # fmt: skip
"""The lowest and the highest value of each number."""
TEXTS = [
    *("socket", "tcp", "udp", "datagram", "socket_mode", "socket_owner", "socket_group"),
    *("scoreboard", "pid_file", "log_level"),
]


@pytest.mark.parametrize(("name", "low", "high"), [(name, *ends) for name, ends in RANGES.items()])
def test_range(name: str, low: float, high: float) -> None:
    """A number is accepted at either end of its range and refused just outside, with name, value and range."""
    for value in (low, high):
        assert getattr(Options(**{name: value}), name) == value
    for value in (low - 1, high + 1):
        with pytest.raises(OptionError, match=f"^{flag(name)} is {value}: it must be a .*(number|time) from .* to "):
            Options(**{name: value})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_at_all(value: float) -> None:
    """A value that is not a number of seconds is refused as a drain time-out."""
    with pytest.raises(OptionError, match="drain-timeout"):
        Options(drain_timeout=value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_children", True), ("max_children", 4.0), ("max_children", "4"), ("spare_children", False),
        ("drain_timeout", True), ("drain_timeout", "soon"), ("no_socket", 1), ("no_fallback", "yes"), ("socket", 7),
        ("log_level", None), ("socket_owner", True), ("socket_owner", -1), ("allow_user", "root"),
        ("allow_user", ["root", False]), ("tcp", 9999), ("socket_mode", 660),
    ],
)  # fmt: skip
def test_type(name: str, value: object) -> None:
    """A value of another type is refused with the name, and true is not the number 1."""
    with pytest.raises(OptionError, match=f"^{flag(name)} is .*: it must be "):
        Options(**{name: value})


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("text", ["a\nb", "a\0b"])
def test_text_is_one_line(name: str, text: str) -> None:
    """A text with a line break or a zero byte is refused."""
    with pytest.raises(OptionError, match=f"^{flag(name)}(: no | is .*: it must be )"):
        Options(**{name: text})


def test_choices() -> None:
    """An unknown log level is refused, and the message lists the valid ones."""
    with pytest.raises(OptionError, match=f"log-level is 'loud': it must be one of {', '.join(log.LEVELS)}$"):
        Options(log_level="loud")


def test_what_there_is_not() -> None:
    """An unknown option is an error of the program."""
    with pytest.raises(TypeError, match="brand_new"):
        Options(brand_new=1)


@pytest.mark.parametrize(("most", "one_user"), [(1, 1), (2, 1), (7, 6), (8, 7), (64, 56), (4096, 3584)])
def test_children_of_one_user(most: int, one_user: int) -> None:
    """By default one user has seven eighths of the children, and at least one; 0 stands for all."""
    assert Options(max_children=most).max_children_per_user == seven_eighths(most) == one_user
    assert Options(max_children=most, max_children_per_user=0).max_children_per_user == 0
    assert Options(max_children=most, max_children_per_user=9).max_children_per_user == 9


def test_default_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """The default path depends on the environment and the user, and is known to be the default."""
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/some")
    assert (Options().socket, Options().default_socket) == ("/run/some/upperd.sock", True)
    assert (Options(socket="/x").socket, Options(socket="/x").default_socket) == ("/x", False)


def test_accounts_become_numbers() -> None:
    """Users and groups become numbers, each once, in order; the mode of a path is parsed as octal."""
    found = Options(
        allow_user=("root", "1000", "0", 7), allow_group=["root"], deny_user=("4294967294",), socket_mode="0666",
        socket_owner="root", socket_group=7,
    )  # fmt: skip
    assert (found.allow_user, found.allow_group, found.deny_user) == ((0, 7, 1000), (0,), (2**32 - 2,))
    assert (found.socket_mode, found.socket_owner, found.socket_group) == (0o666, 0, 7)


@pytest.mark.parametrize("name", ["", "@" + "x" * (paths.MAX_PATH + 1), "@"])
def test_abstract_name(name: str) -> None:
    """An abstract socket needs a name that is not too long, and has no permissions."""
    if name:
        with pytest.raises(OptionError, match=r"^datagram: .*abstract socket.*; write a path .* as ./@"):
            Options(datagram=name)
    with pytest.raises(OptionError, match="^socket-group is for a path, and @x is an abstract socket"):
        Options(socket="@x", socket_group="0")


@given(st.from_regex("0?[0-8]{2,4}") | st.text("0178", max_size=5) | st.text(max_size=4))
def test_socket_mode(text: str) -> None:
    """Permissions are three octal digits, or these after a zero, and must permit some user."""
    assert kinds._is_mode(text) == bool(re.fullmatch("0?(?!000)[0-7]{3}", text))


@pytest.mark.parametrize("address", ["localhost:0", "127.0.0.1:65535", "[::1]:9999", "some.name:80"])
def test_address(address: str) -> None:
    """An address is HOST:PORT, with brackets around the host of IPv6."""
    assert Options(tcp=address).tcp == address


@pytest.mark.parametrize(
    "address", ["localhost", "localhost:", ":9999", "localhost:65536", "localhost:-1", "localhost:http", "a:\uff11",
                pytest.param("a:" + "9" * 5000, id="very long")]
)  # fmt: skip
def test_wrong_address(address: str) -> None:
    """Any other address is refused with an example of a valid one."""
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
    """Two options may not name the same file, and neither may be the lock of the other."""
    both: dict[str, Any] = {first: "/run/x/y", second: "/run/x/../x/y"}
    lock: dict[str, Any] = {first: "/run/x/y", second: "/run/x/y.lock"}
    for chosen in (both, lock):
        with pytest.raises(OptionError, match="are the same file"):
            Options(**chosen)


def test_one_file_of_an_odd_name() -> None:
    """The name of a file that two options name is quoted, whatever characters it has."""
    with pytest.raises(OptionError, match=r"are the same file, '/run/\\x1b\[2J': choose"):
        Options(socket="/run/\x1b[2J", pid_file="/run/\x1b[2J")


def test_defaults() -> None:
    """The defaults work without an operator, on a machine of 2 cores and 2 GiB."""
    found = Options()
    assert (found.max_children, found.spare_children, found.max_children_per_user) == (64, 8, 56)
    assert (found.connections_per_child, found.max_queue, found.drain_timeout) == (1000, 2048, 30.0)
    assert {option.name for option in OPTIONS if type(option.default) in (int, float) and option.default > 0} == {
        "max_children", "spare_children", "connections_per_child", "max_queue", "drain_timeout",
    }  # fmt: skip


def test_defaults_are_right() -> None:
    """A default that can be given as a value is valid as one."""
    said = {option.name: getattr(Options(), option.name) for option in OPTIONS if option.name in RANGES}
    assert said.pop("ready_fd") == 0  # none
    assert vars(Options(**said)) == vars(Options())
