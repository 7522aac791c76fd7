"""The ledger of bench/soak with made-up figures: every equation of it can fail."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from soak.account import Account  # the imports below need this path
from soak.exchange import is_answer
from soak.ledger import Ledger


def _figures() -> dict[str, Any]:
    """Of 100 connections 60 were served, 39 refused, and one was lost when its child was killed."""
    account = Account(daemons=2, unknown=2, interrupted=5, left=3, cut_short=3, abnormal=[7])
    account.columns.update(connections=60, refused=39, refused_access=20, refused_user=10, refused_rate=9)
    account.columns.update(crashed=1, ended_idle=2, bytes_in=900, forked=70, ended=67)
    for side in (account.orderly, account.records):
        side.update(connections=50, refused=30)
    seen = {"answered whole": 40, "nothing was asked": 5, "answered, then ended": 2, "cut": 3, "left on its own": 10}
    denied = {"closed without a byte": 20}
    sights = {
        "mixed": {"offered": 80, "outcomes": {**seen, "closed without a byte": 20}, "sent": 1000, "wrong": 0},
        "denied": {"offered": 20, "outcomes": denied},
    }
    return {"sights": sights, "account": account, "queued": 0, "killed": {7}, "is_root": True}


def _problems(figures: dict[str, Any]) -> list[str]:
    return Ledger(**figures).problems


def test_it_adds_up() -> None:
    """Figures that add up are no problem, and what cannot be known has a line of its own."""
    ledger = Ledger(**_figures())
    assert ledger.problems == []
    assert "unknown at a kill                            1   (0 to 2 may be)" in ledger.text()


def _column(name: str, count: int) -> Callable[[dict[str, Any]], object]:
    return lambda figures: figures["account"].columns.update({name: count})


def _outcome(role: str, outcome: str, count: int) -> Callable[[dict[str, Any]], object]:
    return lambda figures: figures["sights"][role]["outcomes"].update({outcome: count})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_column("connections", 2), "1 unaccounted for"),  # counted twice
        (_column("connections", -2), "3 unaccounted for"),
        (lambda figures: figures.update(queued=2), "-1 unaccounted for"),
        (_outcome("mixed", "answered whole", 39), "99 have an outcome"),
        (_outcome("mixed", "hung", 1), "1 clients hung"),
        (lambda figures: figures["sights"]["mixed"].update(wrong=1), "1 wrong answers"),
        (lambda figures: figures["sights"]["mixed"].update(failures=["it broke"]), "mixed: it broke"),
        (_column("bytes_in", 101), "1001 bytes came in, only 1000 were sent"),
        (lambda figures: figures["account"].records.update(connections=-1), "49 connections in the logs"),
        (lambda figures: figures["account"].records.update(refused=1), "31 refused in the logs"),
        (lambda figures: setattr(figures["account"], "dropped", 2), "-1 unaccounted for"),
        (_column("lost", 1), "1 connections that no child began to serve"),
        (_column("records_lost", 1), "1 log entries lost"),
        (_column("fork_failures", 1), "1 forks failed"),
        (_column("refused_rate", 1), "39 refused, 40 by a reason"),
        (_column("refused_access", 1), "21 refused by their user"),
        (_column("refused_access", -3), "17 refused by their user"),
        (_outcome("denied", "answered whole", 1), "a denied user had answers"),
        (_column("ended_idle", -99), "connections were ended by the daemon, with"),
        (_outcome("mixed", "cut", 11), "13 connections were ended after an answer, 10 may be"),
        (_outcome("mixed", "short after its end of file", 7), "7 answers were short after an end of file, 6 may be"),
        (_outcome("mixed", "short though it was small", 5), "5 small answers were short, 4 children were killed"),
        (lambda figures: figures["killed"].clear(), "the soak has not killed: [7]"),
        (_column("crashed", 1), "1 abnormal ends in the log, 2 counted"),
        (_column("ended", 3), "70 forked, 70 reaped, 3 left"),
        (lambda figures: figures["account"].failures.append("it outlived"), "it outlived"),
    ],
)  # fmt: skip
def test_it_can_fail(change: Callable[[dict[str, Any]], object], says: str) -> None:
    """A wrong figure is named."""
    figures = _figures()
    assert isinstance(figures["account"].columns, Counter)
    change(figures)
    assert [problem for problem in _problems(figures) if says in problem] != []


@pytest.mark.parametrize(
    ("sent", "received", "right"),
    [
        (b"abc", b"ABC", True),
        (b"abc", b"AB", True),
        (b"abc", b"", True),
        (b"abc", b"ABc", False),
        (b"abc", b"ABCD", False),
        ("été".encode(), "É".encode() + b"t", False),
        ("straße".encode(), b"STRASSE", True),
        ("straße".encode(), b"STRA\xc3", True),  # the daemon stopped reading in the middle of a character
        ("straße".encode(), b"STRA\xc4", False),
        ("straße".encode(), b"STRAS\xc3", False),
        ("ab日".encode(), b"AB\xe6\x97", True),
        (b"a\xc3", b"A\xc3", True),
        (b"\xff\xfe", b"\xff\xfe", True),
    ],
)
def test_every_byte_is_verified(sent: bytes, received: bytes, right: bool) -> None:
    """An answer is right if it answers a prefix of what was sent, wherever the daemon stopped reading."""
    assert is_answer(sent, received) is right
