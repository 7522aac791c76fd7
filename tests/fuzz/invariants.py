"""What holds for any input, stated once: for hypothesis (tests/unit/test_invariants.py) and for the fuzzer.

The law: whatever its input, a function here raises nothing unless the program is wrong.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Iterable
from typing import Any

from upperd.ctl import prometheus, stats, status, view
from upperd.server import layout
from upperd.server.snapshot import ScoreboardError, Snapshot, slots_in_use
from upperd.service import settings
from upperd.service.kinds import FILE
from upperd.service.manager import FIRST_DESCRIPTOR, ManagerError, take_environment
from upperd.service.options import OPTIONS, ConfigError, Option, OptionError, Options, read_config
from upperd.service.settings import Settings
from upperd.upper.transform import UpperCaser

PID = 7
"""The pid of the process that reads the environment."""
MANAGERS = {
    "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID",
}  # fmt: skip
"""The service manager's variables (sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3))."""


def _check_line(text: str, start: str = "") -> None:
    """Check that a message is one line without anything that a terminal would obey."""
    assert text.isprintable()
    assert text.startswith(start)
    assert len(text) > len(start)


# The transform


def run(*pieces: bytes) -> tuple[bytes, int]:
    """The whole output for a stream that arrives in these pieces, and the number of undecodable bytes."""
    caser = UpperCaser()
    output = []
    for piece in pieces:
        output.append(caser.feed(piece))
        assert len(caser.unfinished) <= 3
    return b"".join(output) + caser.finish(), caser.undecodable


def model(data: bytes) -> tuple[bytes, int]:
    """The expected output and count, computed without any streaming."""
    text = data.decode("utf-8", "surrogateescape")
    broken = sum("\udc80" <= char <= "\udcff" for char in text)
    return text.upper().encode("utf-8", "surrogateescape"), broken


def check_transform(data: bytes) -> None:
    """A stream comes out as str.upper has it; bytes that are not UTF-8 stay and are counted, wherever reads cut it."""
    expected = model(data)
    for cut in range(len(data) + 1):
        assert run(data[:cut], data[cut:]) == expected
    for size in range(1, 5):
        assert run(*(data[start : start + size] for start in range(0, len(data), size))) == expected


# The scoreboard


ROW = len(layout.ROW_FIELDS) * 8
"""Bytes of a row that carry fields."""


def scoreboard_head(*, header: bytes = b"", text: bytes = b"", places: bytes = b"") -> bytes:
    """The bytes before the rows, with the mark, up to the last slot in use; each part is cut or padded to its size."""
    parts = (
        (layout.MAGIC.to_bytes(8, "little") + header, layout.TEXT),
        (text, layout.PLACES - layout.TEXT),
        (places, min(-(-len(places) // layout.PLACE_SIZE), layout.SLOTS) * layout.PLACE_SIZE),
    )
    return b"".join(part[:room].ljust(room, b"\0") for part, room in parts)


def check_scoreboard(head: bytes, rows: bytes = b"") -> None:
    """Any bytes are a snapshot whose numbers are in range and which is shown as clean text and JSON, or an error.

    `rows`: ROW bytes for each slot, as far as there are any.
    """
    slots = slots_in_use(head)
    try:
        snapshot = Snapshot(head, {slot: rows[slot * ROW :][:ROW] for slot in slots})
    except ScoreboardError as error:
        _check_line(str(error))
        return
    header, children = snapshot.header, snapshot.children
    assert header["magic"] == layout.MAGIC
    unused = {name for name in layout.ROW_FIELDS if name.startswith("counter_")}
    assert set(header) == {*layout.HEADER_FIELDS} - unused | {*snapshot.counters}
    assert _are_words(header.values())
    assert header["phase"] < len(layout.PHASES)
    assert snapshot.busy + snapshot.spare == len(children) == len(slots) <= layout.SLOTS
    for child in children:
        assert set(child) == {*layout.CHILD_FIELDS, "slot", "waiting"} - unused | {*snapshot.counters}
        place = layout.PLACES + child["slot"] * layout.PLACE_SIZE
        words = struct.unpack_from(f"={len(layout.PLACE_FIELDS)}Q", head, place)
        own = {name: word for name, word in zip(layout.PLACE_FIELDS, words, strict=True) if name != "listener"}
        assert own.items() <= child.items()  # the parent's data, whatever the row contains
        assert child["pid"] > 0
        assert _are_words(child.values())
        assert child["listener"] < max(len(snapshot.listeners), 1)
        assert child["outcome"] < len(layout.OUTCOMES)
        assert child["waiting"] in (0, 1)
    for field, total in layout.SUMMED:
        if (name := layout.ROW_FIELDS[field]) not in unused:
            ended = int(struct.unpack_from("=Q", head, total * 8)[0])
            total = (ended + sum(child[name] for child in children)) % 2**64
            assert header[name] == total or (header[name] > total and name == "unanswered")  # not less than its parts
    _check_shown(snapshot)


def _are_words(numbers: Iterable[int]) -> bool:
    return all(type(number) is int and 0 <= number < 2**64 for number in numbers)


_FIGURE = re.compile(
    r"# (HELP|TYPE) upperd_[a-z_]+ .+|"
    r'upperd_[a-z_]+(\{[a-z]+="([^"\\\n]|\\["\\n])*"(,[a-z]+="([^"\\\n]|\\["\\n])*")*\})? (\d+(\.\d+)?(e[+-]?\d+)?|NaN)'
)
"""A line of Prometheus's text format."""


def _check_shown(snapshot: Snapshot) -> None:
    daemon = view.DaemonView(os.devnull)  # which is not a scoreboard, so that no file need be written
    daemon.snapshot = snapshot
    table = stats.table(daemon).split("\n")
    assert len(table) == len(snapshot.children) + 4
    for state in (view.RUNNING, view.NOT_RUNNING, view.UNKNOWN):
        daemon.state = state
        screen = status.text(daemon).split("\n")
        metrics = prometheus.exposition(daemon).removesuffix("\n").split("\n")
        assert [line for line in metrics if not _FIGURE.fullmatch(line)] == []
        assert [line for line in screen + table if not line.isprintable()] == []
        data = stats.data(daemon)
        shown = json.dumps(data, allow_nan=False)
        assert json.loads(shown) == data
        assert shown.isprintable()


# The environment


def environment(data: bytes) -> dict[str, str]:
    """An environment in the format of /proc/PID/environ (proc(5))."""
    pairs = (os.fsdecode(entry).partition("=") for entry in data.split(b"\0"))
    return {name: value for name, _, value in pairs}


def check_activation(data: bytes) -> None:
    """Any environment yields what the manager passed, which reaches the parent unchanged, or an error of one line."""
    environ = environment(data)
    said = {name: environ[name] for name in MANAGERS & environ.keys()}
    foreign = {name: value for name, value in environ.items() if name not in MANAGERS}
    try:
        found = take_environment(environ, PID)
    except ManagerError as error:
        _check_line(str(error))
        return
    assert environ == foreign
    parsed = _check_handed_over(Settings(**found))
    assert parsed.notify_socket == said.get("NOTIFY_SOCKET", "")
    _check_passed(parsed, said)


def _check_passed(found: Settings, said: dict[str, str]) -> None:
    if found.watchdog_usec:
        assert found.watchdog_usec == _number(said["WATCHDOG_USEC"])
        assert not said.get("WATCHDOG_PID") or _number(said["WATCHDOG_PID"]) == PID
    if found.listeners:
        assert not found.warning
        assert _number(said["LISTEN_PID"]) == PID
        count = _number(said["LISTEN_FDS"])
        names = said["LISTEN_FDNAMES"].split(":") if said.get("LISTEN_FDNAMES") else []
        names = (names + ["unknown"] * count)[:count]
        assert found.passed() == list(zip(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + count), names, strict=True))


def _number(text: str) -> int:
    assert re.fullmatch("[0-9]{1,18}", text)
    return int(text)


def _check_handed_over(written: Settings) -> Settings:
    """The launcher's settings reach the parent unchanged, also across an exec."""
    words = [os.fsencode(word) for word in written.words()]
    assert [word for word in words if b"\0" in word] == []
    parsed = settings.parse(list(map(os.fsdecode, words)))
    assert vars(parsed) == {**vars(written), "arguments": ()}
    assert all(type(value) is type(getattr(written, name)) for name, value in vars(parsed).items())
    return parsed


# The file of options


def check_config(data: bytes) -> None:
    """Any file yields options of valid types and ranges, which reach the parent, or an error of one line."""
    descriptor = os.memfd_create("upperd.toml")
    try:
        os.write(descriptor, data)
        path = f"/proc/self/fd/{descriptor}"
        values = read_config(path)
    except ConfigError as error:
        _check_line(str(error), f"{path}: ")
        return
    finally:
        os.close(descriptor)
    try:
        options = Options(**values)
    except OptionError as error:
        # What options demand of each other.
        _check_line(str(error))
        return
    for option in OPTIONS:
        _check_value(option, getattr(options, option.name))
    _check_handed_over(Settings(**vars(options)))


def _check_value(option: Option, value: Any) -> None:
    assert type(value) is (type(getattr(Options(), option.name)))
    if option.kind.read in (int, float):
        assert value == option.default or option.kind.is_right(value)
    elif option.kind is FILE:
        assert not {"\0", "\n"} & set(value)
