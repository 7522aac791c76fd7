"""The picture of `upperctl top`: a daemon's summary, and a table of its children, for a terminal of some size.

It draws with rich what others have seen; nothing here looks at the daemon or the terminal.
"""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from upperd.base.text import duration, printable, size
from upperd.ctl import summary, view
from upperd.ctl.output import Paint
from upperd.ctl.rows import History, Order, Row, fitting, sparkline
from upperd.ctl.usage import is_exact

KEYS = "q quit  \u2190\u2192 sort  r reverse  \u2191\u2193 scroll  space pause"


def picture(
    width: int, daemon: view.DaemonView, history: History, order: Order, height: int | None = None, note: str = ""
) -> RenderableType:
    """The picture, `width` columns by `height` lines; None: as high as it takes, without the line of keys."""
    top = _summary(daemon, history, width)
    rows = order.apply(history.rows)
    room = len(rows) if height is None else max(0, height - len(top) - 3)
    first = min(order.first, max(0, len(rows) - room))
    shown = rows[first : first + room]
    parts: list[RenderableType] = [*top, Text(), _table(shown, order, width)]
    if height is not None:
        parts += [Text()] * (room - len(shown))
        count = f"{first + 1}-{first + len(shown)} of {len(rows)}" if rows else "no children"
        room = max(0, width - len(count) - 2)
        text = f"{(note or KEYS)[:room]:<{room}}  {count}"[:width]
        parts.append(Text(text, "dim", no_wrap=True, overflow="crop", end=""))
    return Group(*parts)


def _line(name: str, *parts: str | tuple[str, str]) -> Text:
    return Text.assemble((f"{name:<13}", "bold"), *parts, no_wrap=True, overflow="ellipsis")


def _summary(daemon: view.DaemonView, history: History, width: int) -> list[Text]:
    """The lines at the top; without figures, the reason."""
    title = Text.from_ansi(summary.title(daemon, Paint(True)), no_wrap=True, overflow="ellipsis")
    if daemon.snapshot is None:
        return [title, *Text(view.explain(daemon)).wrap(Console(width=width), width)]
    if daemon.state == view.RUNNING:
        title.append(f", up {duration(summary.age(daemon))}")
    header, rates = daemon.header, history.rates
    trouble = summary.trouble_text(daemon)
    is_full = daemon.busy >= header["max_children"]
    connections = f"{header['connections']:<11}{rates['connections']:>9.1f}/s  "
    received = f"{size(header['bytes_in']):<11}{size(int(rates['bytes_in'])):>9}/s  "
    room = width - 13 - len(received)
    return [
        title,
        _line("listening", "  ".join(map(printable, daemon.snapshot.listeners))),
        _line("children", (summary.children_text(daemon), "yellow" if is_full else ""), _load(history)),
        _line("queue", (summary.queue_text(header), "yellow" if header["queued"] else "")),
        _line("connections", connections, (sparkline(list(history.past["connections"]), room), "green")),
        _line("bytes in", received, (sparkline(list(history.past["bytes_in"]), room), "green")),
        _line("trouble", (trouble, "yellow") if trouble else "none"),
    ]


def _load(history: History) -> str:
    usages = [row.usage for row in history.rows if row.usage is not None]
    if not usages:
        return ""
    cpu = sum(row.cpu_percent or 0.0 for row in history.rows)
    memory = f"{size(sum(usage.memory_bytes for usage in usages))}, " if is_exact(usages) else ""
    return f"; {memory}{cpu:.0f}% CPU"


def _table(rows: list[Row], order: Order, width: int) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="reverse", show_edge=False)
    columns = fitting(width)
    is_summed = is_exact(row.usage for row in rows if row.usage is not None)
    for name, column in columns.items():
        # The underline is visible without colours, too.
        table.add_column(
            "RSS" if name == "mem" and not is_summed else column.title,
            header_style="reverse underline" if name == order.field else "reverse",
            justify="left" if name in ("state", "user") else "right",
            width=column.width,
            no_wrap=True,
        )
    for row in rows:
        table.add_row(*(column.text(row) for column in columns.values()), style="dim" if row.child["waiting"] else "")
    return table
