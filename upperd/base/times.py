"""Parses time spans as an operator writes them: 30, 500ms, 2min, "1h 30min" (systemd.time(7))."""

from __future__ import annotations

from itertools import groupby, zip_longest

_UNITS = {
    "us usec µs μs": 1e-6, "ms msec": 1e-3, "s sec second seconds": 1.0, "m min minute minutes": 60.0,
    "h hr hour hours": 3600.0, "d day days": 86400.0, "w week weeks": 604_800.0,
}  # fmt: skip


def seconds(text: str) -> float:
    """The number of seconds in the text; a last number without a unit means seconds. Raises ValueError."""
    words = ["".join(letters) for kind, letters in groupby(text, _kind) if kind]
    if not words or not all(_kind(word[0]) == 1 for word in words[::2]):
        raise ValueError(text)
    return sum(float(figure) * _factor(unit) for figure, unit in zip_longest(words[::2], words[1::2], fillvalue="s"))


def _kind(letter: str) -> int:
    """0: a space, 1: part of a number, 2: part of a unit."""
    return 0 if letter == " " else 1 if letter in "0123456789." else 2


def _factor(unit: str) -> float:
    for names, factor in _UNITS.items():
        if unit in names.split():
            return factor
    raise ValueError(unit)
