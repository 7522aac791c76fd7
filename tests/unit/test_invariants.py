"""Invariants for any input, tried by hypothesis; tests/fuzz has the fuzzer try the same."""

import json

import invariants
from hypothesis import example, given, settings
from hypothesis import strategies as st

from upperd.server import layout
from upperd.service.options import OPTIONS

WORD = st.one_of(st.integers(0, 9), st.integers(0, layout.UNKNOWN)).map(lambda word: word.to_bytes(8, "little"))
ROW = st.lists(WORD, min_size=len(layout.ROW_FIELDS), max_size=len(layout.ROW_FIELDS)).map(b"".join)
PLACE = st.lists(WORD, max_size=layout.PLACE_SIZE // 8).map(b"".join).map(lambda x: x.ljust(layout.PLACE_SIZE, b"\0"))
LINES = st.one_of(st.binary(max_size=40), st.text(max_size=20).map(str.encode), st.just(b"unix:/run/upperd.sock\n"))
ROWS = st.lists(ROW, max_size=5).map(b"".join)
HEADS = st.builds(
    invariants.scoreboard_head,
    header=st.lists(WORD, max_size=len(layout.HEADER_FIELDS)).map(b"".join),
    text=st.lists(LINES, max_size=4).map(b"\n".join),
    places=st.lists(PLACE, max_size=9).map(b"".join),
)

NUMBERS = st.one_of(st.integers(-1, 1100).map(str), st.sampled_from([str(invariants.PID), "9" * 19, "٣", "²"]))
NAMES = st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=5), max_size=5).map(":".join)
VALUES = st.one_of(NUMBERS, NAMES).map(str.encode) | st.binary(max_size=12)
VARIABLES = st.tuples(st.sampled_from([*sorted(invariants.MANAGERS), "HOME"]).map(str.encode), VALUES).map(b"=".join)
SOCKETS = NAMES.map(lambda names: f"LISTEN_PID={invariants.PID}\0LISTEN_FDS=3\0LISTEN_FDNAMES={names}".encode())

LETTERS = st.one_of(st.sampled_from("a\0\n\x1b\u2028"), st.characters(codec="utf-8"))
QUOTED = st.text(LETTERS, max_size=3).map(lambda text: json.dumps(text, ensure_ascii=False))
"""A string of JSON is one of TOML, too."""
KEYS = st.one_of(*[st.just(option.flag) for option in OPTIONS], QUOTED, st.text(max_size=5))
TOML = st.one_of(
    st.integers(-1, 2**70).map(str),
    st.floats().map(str),
    st.sampled_from(["true", "inf", "0x" + "f" * 4000, "[[1]]", "{a.b = 1}", "1979-05-27", "'/x'", '"a:1"']),
    QUOTED,
    st.text(max_size=9),
)
ENTRIES = st.tuples(KEYS, st.sampled_from([" = ", " = ", " = ", ".a = ", ""]), TOML).map("".join)
CONFIGS = st.lists(ENTRIES, max_size=3).map("\n".join).map(lambda text: text.encode("utf-8", "replace"))


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=24), st.text(max_size=8).map(str.encode)))
@example(b"\xed\xa0\x80\xf4\x90\x80\x80")
@example("ŉΐﬃß😀".encode())
def test_transform(data: bytes) -> None:
    """A stream comes out as str.upper has it; bytes that are not UTF-8 stay and are counted, wherever reads cut it."""
    invariants.check_transform(data)


@settings(max_examples=200, deadline=None)
@given(HEADS, ROWS, st.binary(max_size=9))
@example(invariants.scoreboard_head(text=b"1\nunix:/a\x1b[2J\n"), b"", b"")
@example(invariants.scoreboard_head(header=b"\xff" * 1024, text=b"\x85", places=b"\1" * 200), b"\xff" * 2560, b"")
def test_scoreboard_reader(head: bytes, rows: bytes, more: bytes) -> None:
    """Any bytes are a snapshot whose numbers are in range and which is shown as clean text and JSON, or an error."""
    invariants.check_scoreboard(head + more, rows)
    invariants.check_scoreboard(head[len(more) :])
    invariants.check_scoreboard(more)


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.lists(VARIABLES, max_size=7).map(b"\0".join), SOCKETS))
@example(b"LISTEN_PID=7\0LISTEN_FDS=2\0LISTEN_FDNAMES==:\xff\n")
@example(b"LISTEN_PID=8\0LISTEN_FDS=\x1b\n")
@example(b"WATCHDOG_USEC=" + b"9" * 19)
@example("LISTEN_PID=7\0LISTEN_FDS=٣".encode())
def test_activation_environment(data: bytes) -> None:
    """Any environment yields what the manager passed, which reaches the parent unchanged, or an error of one line."""
    invariants.check_activation(data)


@settings(max_examples=500, deadline=None)
@given(st.one_of(CONFIGS, st.binary(max_size=20)))
@example(b"socket" + b".a" * 5000 + b" = 1")
@example(b"drain-timeout = nan")
@example(b"max-children = true")
@example(b'socket = "a\\nb"')
@example(b'socket = "/\\u001b"\npid-file = "/\\u001b"')
def test_config_reader(data: bytes) -> None:
    """Any file yields options of valid types and ranges, which reach the parent, or an error of one line."""
    invariants.check_config(data)
