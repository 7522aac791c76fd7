"""Draws the path of a connection through upperd, as SVG: `python bench/flow.py OUT.svg`.

It knows nothing about the program: the boxes, arrows and words are in the tables below.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 860, 460
LINE = 17
"""Pixels between two lines of text."""
STYLE = """
text { font: 13px ui-sans-serif, Helvetica, Arial, 'DejaVu Sans', sans-serif; fill: #1f2328; }
.title { font-weight: bold; }
.label { fill: #57606a; font-size: 12px; }
rect { fill: #f6f8fa; stroke: #57606a; rx: 6; }
.user { fill: #ddf4ff; }
path { stroke: #57606a; stroke-width: 1.5; fill: none; marker-end: url(#head); }
.data { stroke: #0969da; stroke-width: 2.5; marker-start: url(#tail); marker-end: url(#data); }
"""
HEADS = (("head", "#57606a", "auto"), ("data", "#0969da", "auto"), ("tail", "#0969da", "auto-start-reverse"))


@dataclass(frozen=True)
class Box:
    x: int
    y: int
    width: int
    height: int
    title: str
    lines: tuple[str, ...] = ()
    kind: str = ""


@dataclass(frozen=True)
class Arrow:
    path: str
    """SVG path data: M x y L x y ..."""
    x: int
    y: int
    label: str
    kind: str = ""


BOXES = (
    Box(20, 112, 130, 60, "client", ("uid 1000",)),
    Box(20, 290, 130, 60, "client", ("uid 1001",)),
    Box(250, 112, 250, 112, "parent", ("accepts; never reads, never blocks", "checks rules, rates and limits",
        "queues for each user, in turn", "forks, reaps and drains children")),
    Box(650, 98, 190, 56, "child of uid 1000", ("waits for its user",), "user"),
    Box(650, 176, 190, 56, "child of uid 1000", ("runs the handler",), "user"),
    Box(650, 292, 190, 56, "child of uid 1001", ("runs the handler",), "user"),
    Box(250, 14, 250, 56, "systemd", ("starts, watches, stops, reloads",)),
    Box(250, 388, 250, 56, "scoreboard", ("a file in shared memory",)),
    Box(20, 388, 130, 56, "upperctl", ("status, stats, top",)),
)  # fmt: skip
ARROWS = (
    Arrow("M 150 135 L 250 135", 172, 127, "connect"),
    Arrow("M 150 308 L 200 308 L 200 205 L 250 205", 150, 298, ""),
    Arrow("M 500 188 L 650 188", 520, 180, "connection"),
    Arrow("M 500 204 L 615 204 L 615 306 L 650 306", 512, 204, ""),
    Arrow("M 85 172 L 85 256 L 590 256 L 590 218 L 650 218", 270, 250, "text and answers", "data"),
    Arrow("M 150 332 L 650 332", 270, 326, "text and answers", "data"),
    Arrow("M 320 70 L 320 112", 200, 96, "listening socket"),
    Arrow("M 430 112 L 430 70", 440, 96, "ready, status, watchdog"),
    Arrow("M 420 224 L 420 388", 428, 375, "counts"),
    Arrow("M 745 348 L 745 416 L 500 416", 600, 408, "counts"),
    Arrow("M 250 416 L 150 416", 176, 408, "is read"),
)


def drawn() -> str:
    """The whole picture as SVG text."""
    heads = "".join(
        f'<marker id="{name}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
        f'orient="{orient}"><polygon points="0,0 10,5 0,10" style="fill:{colour}"/></marker>'
        for name, colour, orient in HEADS
    )
    parts = [*(_arrow(arrow) for arrow in ARROWS), *(_box(box) for box in BOXES)]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">',
        "<title>How a connection goes through upperd</title>",
        f"<style>{STYLE}</style><defs>{heads}</defs>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" style="fill:#ffffff;stroke:none"/>', *parts, "</svg>", "",
    ])  # fmt: skip


def _box(box: Box) -> str:
    texts = [f'<rect class="{box.kind}" x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}"/>']
    for number, line in enumerate((box.title, *box.lines)):
        kind, y = "label" if number else "title", box.y + 23 + LINE * number + 4 * bool(number)
        texts.append(f'<text class="{kind}" x="{box.x + 14}" y="{y}">{escape(line)}</text>')
    return "\n".join(texts)


def _arrow(arrow: Arrow) -> str:
    label = f'<text class="label" x="{arrow.x}" y="{arrow.y}">{escape(arrow.label)}</text>'
    return f'<path class="{arrow.kind}" d="{arrow.path}"/>\n{label if arrow.label else ""}'


if __name__ == "__main__":
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        file.write(drawn())
