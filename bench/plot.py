"""Draws bar charts as SVG: a panel per case, a bar per contender, a whisker from the worst to the best round."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path

from figures import CASES, FIGURES, Findings, Spread, spread
from peers import OURS
from table import number, sort_contenders

WIDTH, NAMES, VALUES, ROW, HEAD = 720, 130, 90, 20, 44
"""Pixels: width of a panel, of the names to its left, of the values to its right; height of a row, of the heading."""
COLOURS = {**dict.fromkeys(OURS, "#c2410c"), "c-": "#64748b", "": "#3b82f6"}
"""The colour of a bar by the prefix of its contender's name."""

PLOTS = {
    "connections": ("connections-1", "connections-8", "connections-32"),
    "users": tuple(case for case in CASES if case.startswith("users-")),
    "pingpong": ("pingpong",),
    "bulk": ("bulk-ascii",),
    "texts": ("bulk-french", "bulk-cyrillic", "bulk-greek", "bulk-mixed"),
    "memory": ("memory",),
    "held": ("held",),
    "commands": ("send", "start"),
    "faults": ("faults",),
    "attacks": tuple(case for case in CASES if case.startswith("attack-")),
}
"""By file name: the cases that the plot shows."""
STEEP = 30
"""If the highest value is more than this many times the lowest, the scale is logarithmic."""


def write_plots(findings: Findings, folder: Path) -> list[str]:
    """Write a file for each plot with measured cases; return the file names."""
    written = []
    for name, cases in PLOTS.items():
        measured = [case for case in cases if case in findings.cases()]
        if measured:
            (folder / f"{name}.svg").write_text(render(measured, findings))
            written.append(f"{name}.svg")
    return written


def render(cases: list[str], findings: Findings) -> str:
    """The picture of these cases as SVG text."""
    body, top = "", 8
    for case in cases:
        panel, height = _panel(case, findings, top)
        body += panel
        top += height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}" '
        f'font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="#fff"/>\n{body}</svg>\n'
    )


def _panel(case: str, findings: Findings, top: int) -> tuple[str, int]:
    """The SVG text of a panel, and the height of the panel."""
    title, main = CASES[case]
    figure = FIGURES[main]
    bars = {
        name: found
        for name in sort_contenders(case, findings)
        if (found := spread(list(findings.values(case, name, main).values())))
    }
    scale = Scale([each for found in bars.values() for each in (found.low, found.high)])
    notes = [figure.unit, "more is better" if figure.is_more_better else "less is better"]
    notes += ["logarithmic"] if scale.is_logarithmic else []
    text = f'<text x="8" y="{top + 16}" font-size="14" font-weight="bold">{escape(title)}</text>\n'
    text += f'<text x="8" y="{top + 32}" fill="#555">{escape(", ".join(filter(None, notes)))}</text>\n'
    for index, (name, found) in enumerate(bars.items()):
        text += _bar(name, found, scale, top + HEAD + index * ROW)
    return text, HEAD + len(bars) * ROW + 12


class Scale:
    """Maps a value to a length in pixels."""

    def __init__(self, values: list[float]) -> None:
        positive = [value for value in values if value > 0] or [1.0]
        self.high = max(positive)
        self.low = min(positive) / 2
        self.is_logarithmic = self.high / min(positive) > STEEP

    def length(self, value: float) -> float:
        room = WIDTH - NAMES - VALUES
        if not self.is_logarithmic:
            return max(0.0, room * value / self.high)
        return room * math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)


def _bar(name: str, found: Spread, scale: Scale, top: float) -> str:
    colour = next(colour for prefix, colour in COLOURS.items() if name.startswith(prefix))
    middle = top + ROW / 2
    low, length, high = (NAMES + scale.length(value) for value in (found.low, found.median, found.high))
    return (
        f'<text x="{NAMES - 6}" y="{middle + 4:g}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{NAMES}" y="{top + 3:g}" width="{length - NAMES:.1f}" height="{ROW - 6}" fill="{colour}"/>'
        f'<path d="M{low:.1f} {middle:g}H{high:.1f}" stroke="#111" stroke-width="1.5"/>'
        f'<text x="{max(length, high) + 6:.1f}" y="{middle + 4:g}">{number(found.median)}</text>\n'
    )
