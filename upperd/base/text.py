"""Formats text for people: strings that are safe on a terminal, sizes, durations, plurals."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def printable(text: str) -> str:
    """`text` with every control character, including line breaks, escaped."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def size(count: int) -> str:
    """A number of bytes: 999 B, 1.0 kB, 12.3 MB."""
    if count < 1000:
        return f"{count} B"
    value, unit = float(count), 0
    while value >= 999.95 and unit < 6:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {' kMGTPE'[unit]}B"


def plural(count: int, noun: str, many: str = "") -> str:
    """The number and the noun: 1 connection, 2 connections."""
    return f"{count} {noun if count == 1 else many or noun + 's'}"


def duration(seconds: float) -> str:
    """A time in its two largest units: 5s, 3min 7s, 2h 5min, 3d 4h."""
    minutes, second = divmod(max(0, int(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    figures = [(day, "d"), (hour, "h"), (minute, "min"), (second, "s")]
    while len(figures) > 1 and not figures[0][0]:
        del figures[0]
    return " ".join(f"{count}{unit}" for count, unit in figures[:2] if count or len(figures) == 1)


def near(word: str, known: Iterable[str]) -> str:
    """A suggestion for the misspelt `word`, as the end of a sentence; empty if no known word is similar.

    Leading dashes are not compared, or --json would be similar to --version.
    """
    import difflib  # imported here: only an error needs it

    bare = {each.lstrip("-"): each for each in known}
    found = difflib.get_close_matches(word.partition("=")[0].lstrip("-"), bare, 1)
    return f"; is it {bare[found[0]]!r}?" if found else ""
