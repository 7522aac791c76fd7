"""Text for people: what a terminal may be shown, and figures in words."""

from __future__ import annotations


def printable(text: str) -> str:
    """`text` with every control character, line breaks too, as an escape."""
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
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
        elif parts:
            break
    return " ".join(parts[:2])
