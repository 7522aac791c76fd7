"""upperd(7) agrees with the program: what a client may rely on, the status and the log."""

import ast
import re
import resource
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from upperd.server import layout
from upperd.server.exits import ExitRecord
from upperd.server.roster import Child
from upperd.server.row import Row
from upperd.server.scoreboard import Scoreboard
from upperd.service import log, notify, records, reporter
from upperd.upper.handler import UpperHandler
from upperd.upper.transform import UpperCaser

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "man/upperd.7").read_text()
SECTIONS = dict(re.findall(r"^\.S[sh] (.*)\n((?:.*\n)*?)(?=\.S[sh] |\Z)", PAGE, re.MULTILINE))
FUNCTIONS = [
    node
    for path in sorted((ROOT / "upperd").rglob("*.py"))
    for node in ast.walk(ast.parse(path.read_text()))
    if isinstance(node, ast.FunctionDef)
]
"""Every function of the program."""


def _calls(function: ast.FunctionDef) -> list[ast.Call]:
    """The calls of methods in a function."""
    return [node for node in ast.walk(function) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]


def _words(section: str) -> str:
    return " ".join(SECTIONS[section].split())


# The protocol


def test_every_code_point_is_as_described() -> None:
    """The page's statements on newlines, lengths and upper-casing twice hold for every code point."""
    longest = 0.0
    for number in (*range(0xD800), *range(0xE000, sys.maxunicode + 1)):
        text = chr(number)
        upper = text.upper()
        assert ("\n" in upper) == (text == "\n")
        assert upper.upper() == upper
        if not upper.isascii():
            longest = max(longest, len(upper.encode()) / len(text.encode()))
    assert longest == 3
    assert "up to three times as long" in _words("Protocol")


@pytest.mark.parametrize("data", [b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\xff"])
def test_what_is_not_utf8_comes_back(data: bytes) -> None:
    """Surrogates, overlong forms and sequences above U+10FFFF come back and are counted; zeros are text."""
    caser = UpperCaser()
    assert caser.feed(b"a" + data + b"\0a") + caser.finish() == b"A" + data + b"\0A"
    assert caser.undecodable == len(data)
    assert "surrogates, overlong forms, and what lies above U+10FFFF" in _words("Protocol")


def test_sentence_of_the_example() -> None:
    """The one answer that the page shows is the program's."""
    [(text, answer)] = re.findall(r"\.Sq (\S+)\ngives\n\.Sq (\S+) \.", SECTIONS["Protocol"])
    assert UpperCaser().feed(text.replace(r"\(ss", "ß").encode()).decode() == answer


# Status


def _said(*methods: str) -> list[str]:
    """The beginning of every text that is passed to these methods, without the fields of formatted ones."""
    texts: list[str] = []
    for call in [call for function in FUNCTIONS for call in _calls(function)]:
        if isinstance(call.func, ast.Attribute) and call.func.attr in methods:
            for argument in call.args:
                parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
                if isinstance(parts[0], ast.Constant) and isinstance(parts[0].value, str):
                    texts.append(parts[0].value)
    return texts


def test_assignments_are_documented() -> None:
    """Every assignment sent to the service manager is in the page, and no other is."""
    sent = {text.partition("=")[0] for text in _said("send", "_tell") if re.match("[A-Z_]+=", text)}
    assert len(sent) > 8
    assert set(re.findall(r"\bLi ([A-Z_]+)=", SECTIONS["Notification"])) == sent


def test_status_is_documented() -> None:
    """The line shown in the page is what the program prints for such children, and such a queue."""
    board = Scoreboard(slots=9)
    board["max_children"] = 64
    board["connections"], board["bytes_in"], board["bytes_out"] = 11, 3100, 3100
    board["queued"], board["queued_users"] = 3, 2
    board["refused"], board["cut"] = 2, 1
    for pid in range(804, 813):
        slot, place, row = board.claim()
        board.born(slot, pid)
    place[layout.HANDED], place[layout.PEER_UID] = 1, 1000
    child = Row(row)
    child.begin()
    child.received(20)
    [shown] = re.findall(r"\(one line\)\n\.Bd -literal -offset indent\n((?:.*\n)*?)\.Ed", SECTIONS["Notification"])
    assert " ".join(shown.split()) == records.status_line(board, "")


def test_troubles_are_documented() -> None:
    """The page lists, in order, the figures that the status shows only if they are not zero."""
    troubles = ", ".join(name.replace("_", " ") for name in ("refused", "unanswered", *records._TROUBLE))
    assert f"only those that are not zero: {troubles} (see" in _words("Notification")


def test_words_of_the_status_are_documented() -> None:
    """Every word with which the status may begin, or of which it may consist, is in the page, and no other is."""
    said = _said("send", "tell", "_tell")
    words = {text.removeprefix("STATUS=").partition(":")[0] for text in said if text.startswith("STATUS=")}
    for path in (ROOT / "upperd").rglob("*.py"):
        words |= set(re.findall(r'\.phase = f?"([a-z ]+)', path.read_text()))
    words -= {""}
    assert {word.strip() for word in re.findall(r"\.Dq ([a-z ]+?)(?::\\&)?\n", SECTIONS["Notification"])} == words


# Log


class Entries(log.Log):
    """A log that keeps its entries."""

    def __init__(self) -> None:
        super().__init__("debug")
        self.entries: list[tuple[int, str, dict[str, object]]] = []

    def write(self, level: int, event: str, text: str, **fields: object) -> None:
        """Keep one entry."""
        self.entries.append((level, event, fields))


def _ended(status: int, connections: int, reason: str = "") -> ExitRecord:
    """The record of a child that served this many of a user, and was ended for this reason: cut, killed, overdue..."""
    control: Any = None
    child = Child(1, *Scoreboard(slots=1).claim(), control, 0)
    child.handed, child.peer = connections, (7, 7, 7)
    child.row[layout.CONNECTIONS] = child.row[layout.UNANSWERED] = connections
    record = ExitRecord(child, status, resource.getrusage(resource.RUSAGE_SELF))
    record.failure = "ValueError: why" if status else ""
    record.was_cut, record.killed_for = reason == "cut", reason.replace("cut", "")
    return record


def _keys(function: ast.FunctionDef, name: str) -> set[str]:
    """The keys of the dictionary that a function makes and calls by this name: the texts in the assignment."""
    made = [node.value for node in ast.walk(function) if isinstance(node, ast.Assign) and _is_of(node, name)]
    texts = [node for value in made for node in ast.walk(value) if isinstance(node, ast.Constant)]
    return {node.value for node in texts if isinstance(node.value, str)}


def _is_of(assignment: ast.Assign, name: str) -> bool:
    return any(ast.unparse(target) == name for target in assignment.targets)


def _written() -> dict[str, dict[int, set[str]]]:
    """The fields that the program writes, by event and level: from its source, or else from a run."""
    written: dict[str, dict[int, set[str]]] = {}
    for function, call in ((maker, call) for maker in FUNCTIONS for call in _calls(maker)):
        said = re.match(r"[\w.]+\.write\(log\.([A-Z]+), '(\w+)'", ast.unparse(call))
        if said:
            fields = written.setdefault(said[2], {}).setdefault(getattr(log, said[1]), set())
            for keyword in call.keywords:
                fields |= {keyword.arg} if keyword.arg else _keys(function, ast.unparse(keyword.value))
    entries = Entries()
    reports = reporter.Reporter(Scoreboard(slots=2), entries, notify.Notifier(""), counters=UpperHandler.counters)
    for record in (
        *(_ended(0, 1) for _ in range(reporter.RECORDS_A_SECOND + 1)),
        *(_ended(0, 0), _ended(9, 1)),
        *(_ended(9, 1, reason) for reason in ("cut", "killed", "overdue", "stopped", "unruly")),
    ):
        reports.child_ended(record)
    reports.refused(7, "refused_rate")
    reports.given_up(7)
    reports.flush()
    for number, event, fields_of_entry in entries.entries:
        written.setdefault(event, {}).setdefault(number, set()).update(fields_of_entry)
    return written


EVENTS = dict(re.findall(r"^\.It ([a-z]+)\n((?:.*\n)*?)(?=\.It [a-z]+\n|\.El)", SECTIONS["Log"], re.MULTILINE))
WRITTEN = _written()


def test_events_are_documented() -> None:
    """Every event of the log is in the page, and no other is."""
    assert set(EVENTS) == set(WRITTEN)


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_levels_of_an_event_are_documented(event: str) -> None:
    """The page names the levels that an event may have, and no other."""
    text = EVENTS[event]
    named = set(re.findall(rf"\b({'|'.join(log.LEVELS)})\b", text.partition("At most")[0]))
    assert {log.LEVELS[name] for name in named} == set(WRITTEN[event])


@pytest.mark.parametrize("event", sorted(EVENTS))
def test_fields_of_an_event_are_documented(event: str) -> None:
    """The page names the fields of an event by their names in the journal, and no others."""
    section = SECTIONS["Log"]
    text = section[section.index("The fields of\n.Cm end") :] if event == "end" else EVENTS[event]
    lines = re.findall(r"^\.(?:It )?Ev (.*)$", text, re.MULTILINE)
    written = set().union(*WRITTEN[event].values())
    assert set(re.findall(r"\w+", " ".join(lines))) == {f"UPPERD_{name.upper()}" for name in written}


def test_every_entry_of_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page names the fields that every entry has in the journal, and no others."""
    path = str(tmp_path / "journal")
    monkeypatch.setattr(log, "JOURNAL_SOCKET", path)
    said = log.Log(journal=True)
    assert said._journal is not None
    with said._journal, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(path)
        said.write(log.INFO, "ready", "text")
        sent = {line.partition("=")[0] for line in journal.recv(4096).decode().splitlines()}
    intro = SECTIONS["Log"].partition("The events, with")[0]
    assert set(re.findall(r"\w+", " ".join(re.findall(r"^\.Ev (.*)$", intro, re.MULTILINE)))) == sent


def test_events_of_the_examples_exist() -> None:
    """The program writes the fields that the examples look for in the journal."""
    fields = set().union(*(fields for levels in WRITTEN.values() for fields in levels.values()))
    named = set(re.findall(r"UPPERD_([A-Z_]+)=", SECTIONS["EXAMPLES"]))
    assert named <= {name.upper() for name in fields} | {"EVENT"}
    assert set(re.findall(r"UPPERD_EVENT=(\w+)", SECTIONS["EXAMPLES"])) <= set(EVENTS)
