"""The picture of `upperctl top`: a daemon's summary, and a table of its children, for a terminal of some size.

Drawn with rich, from what was seen; nothing here looks at the daemon or the terminal.
"""

from __future__ import annotations

from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from upperd.base.text import duration, printable, size
from upperd.ctl import view
from upperd.ctl.columns import Order, fitting
from upperd.ctl.history import ASCII_BARS, BARS, History, Row, sparkline
from upperd.ctl.terminal import DOT
from upperd.server import layout
from upperd.server.slot import now_usec

_STATE_STYLES = {view.RUNNING: "bold green", view.NOT_RUNNING: "bold red", view.UNKNOWN: "bold yellow"}


KEYS = "q quit  \u2190\u2192 sort  r reverse  \u2191\u2193 scroll  space pause"
ASCII_KEYS = "q quit  < > sort  r reverse  j k scroll  space pause"


def picture(
    console: Console, sight: view.Sight, history: History, order: Order, *, height: int | None = None, note: str = ""
) -> RenderableType:
    """All of it, as wide as the console, and `height` lines high; None: every child, and no line about keys."""
    is_utf = console.encoding.startswith("utf")
    top = summary(sight, history, console.width, BARS if is_utf else ASCII_BARS)
    room = None if height is None else max(0, height - len(top) - 3)
    rows = order.apply(history.rows)
    first = min(order.first, max(0, len(rows) - (room or len(rows))))
    shown = rows[first:] if room is None else rows[first : first + room]
    parts: list[RenderableType] = [*top, Text(), _table(shown, order, console.width)]
    if height is not None:
        parts += [Text()] * (height - len(top) - 3 - len(shown))
        count = f"{first + 1}-{first + len(shown)} of {len(rows)}" if rows else "no children"
        parts.append(_footer(count, note or (KEYS if is_utf else ASCII_KEYS), console.width))
    return Group(*parts)


def _line(*parts: str | tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis", end="\n")


def summary(sight: view.Sight, history: History, width: int, bars: str) -> list[Text]:
    """The lines at the top; of a daemon without figures why there are none."""
    style = _STATE_STYLES[sight.state]
    word = view.WORDS[sight.state]
    if sight.snapshot is None:
        lines = Text(view.explain(sight)).wrap(Console(width=width), width)
        return [_line((f"{DOT} ", style), "upperd  ", (word, style)), *lines]
    header, snapshot = sight.snapshot.header, sight.snapshot
    if sight.state == view.NOT_RUNNING:
        life: list[str | tuple[str, str]] = [(word, style), "  its last figures; waiting for the next"]
    else:
        up = duration((now_usec() - header["started_usec"]) / 1e6)
        phase = layout.PHASES[header["phase"]] if sight.state == view.RUNNING else word
        life = [(phase, style), f"  pid {header['pid']}  up {up}"]
    where = "  ".join(map(printable, snapshot.listeners))
    busy, spare = (sum(row.child["waiting"] == waiting for row in history.rows) for waiting in (0, 1))
    most = header["max_children"]
    children = f"{busy} busy, {spare} spare, at most {most}"
    trouble = view.trouble_text(header)
    return [
        _line((f"{DOT} ", style), (f"upperd {printable(snapshot.version)}  ", "bold"), *life),
        _line(("listening    ", "bold"), where),
        _line(("children     ", "bold"), (children, "yellow" if busy >= most else ""), _load(history)),
        _rate_line("connections", str(header["connections"]), history, width, bars),
        _rate_line("bytes in", size(header["bytes_in"]), history, width, bars),
        _line(("trouble      ", "bold"), (trouble, "yellow") if trouble else "none"),
    ]


def _load(history: History) -> str:
    usages = [row.usage for row in history.rows if row.usage is not None]
    if not usages:
        return ""
    cpu = sum(row.cpu_percent or 0.0 for row in history.rows)
    memory = f"{size(sum(usage.memory_bytes for usage in usages))}, " if view.is_exact(usages) else ""
    return f"; {memory}{cpu:.0f}% CPU"


def _rate_line(name: str, total: str, history: History, width: int, bars: str) -> Text:
    field = {"connections": "connections", "bytes in": "bytes_in"}[name]
    rate = history.rates[field]
    shown = f"{size(int(rate))}/s" if field == "bytes_in" else f"{rate:.1f}/s"
    line = f"{name:<13}{total:<11}{shown:>11}  "
    room = width - len(line)
    return _line((line[:13], "bold"), line[13:], (sparkline(list(history.past[field]), room, bars), "green"))


def _table(rows: list[Row], order: Order, width: int) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="reverse", show_edge=False)
    columns = fitting(width)
    usages = [row.usage for row in rows if row.usage is not None]
    for column in columns:
        side: Literal["left", "right"] = "left" if column.name in ("state", "user") else "right"
        # Underlined: seen without colours, too.
        style = "reverse underline" if column.name == order.field else "reverse"
        title = "RSS" if column.name == "mem" and not view.is_exact(usages) else column.title
        table.add_column(title, header_style=style, width=column.width, justify=side, no_wrap=True)
    for row in rows:
        table.add_row(*(column.text(row) for column in columns), style="" if not row.child["waiting"] else "dim")
    return table


def _footer(count: str, note: str, width: int) -> Text:
    line = f"{note[: max(0, width - len(count) - 2)]:<{max(0, width - len(count) - 1)}} {count}"
    return Text(line[:width], "dim", no_wrap=True, overflow="crop", end="")
