"""`upperctl stats`: each child and the totals, as a table, as JSON, or for Prometheus; once, or every few seconds."""

from __future__ import annotations

import argparse
import errno
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import chain

from rich.table import Table
from rich.text import Text

from upperd.base.text import printable, size
from upperd.ctl import status, summary, view
from upperd.ctl.output import Paint, fail, has_colour, is_capable, pause, show, write_out
from upperd.ctl.rows import STATS, History, Row
from upperd.ctl.screen import drawn, make_live
from upperd.ctl.usage import Usage, is_exact
from upperd.server import layout

_ALWAYS = ("forked", "ended", "connections", "messages", "bytes_in", "bytes_out")
"""Totals that are shown even if they are 0."""
_TOTALS = layout.HEADER_FIELDS[layout.HEADER["waited"] : layout.HEADER["counter_0"]]

_CURES = {
    errno.ENOENT: "; make its folder first (mkdir -p)",
    errno.EACCES: "; choose a folder that this user may write to",
    errno.ENXIO: "; no process reads that pipe",
}


def run(arguments: argparse.Namespace) -> int:
    """Show the figures; returns the exit status."""
    if arguments.output is not None and not arguments.prometheus:
        return fail(os.EX_USAGE, "--output goes with --prometheus only; else redirect: upperctl stats > FILE")
    if arguments.watch is not None:
        return _watch(arguments)
    return _show(view.find(arguments.socket).load_usages(), arguments)


def _show(daemon: view.DaemonView, arguments: argparse.Namespace) -> int:
    """Print one look in the form that the options name; returns the exit status."""
    if arguments.prometheus:
        return _show_prometheus(daemon, arguments.output)
    if daemon.snapshot is None:
        return _missing(daemon)
    if arguments.json:  # one object a line where it is watched: JSON Lines
        show(json.dumps(data(daemon), indent=2 if arguments.watch is None else None))
    else:
        show(_text(daemon))
    return 0


def _missing(daemon: view.DaemonView) -> int:
    return fail(os.EX_NOPERM if daemon.is_denied else os.EX_UNAVAILABLE, view.explain(daemon))


def _show_prometheus(daemon: view.DaemonView, path: str | None) -> int:
    """A stopped daemon is no error: `upperd_up` is 0."""
    from upperd.base import atomic
    from upperd.ctl.prometheus import exposition

    text = exposition(daemon).encode()
    if path is None:
        write_out(text)
    else:
        try:
            atomic.put(path, text)
        except OSError as error:
            cure = _CURES.get(error.errno or 0, "")
            return fail(os.EX_CANTCREAT, f"cannot write {printable(path)}: {error.strerror}{cure}")
    return _missing(daemon) if daemon.is_denied else 0


def _text(daemon: view.DaemonView) -> str:
    paint = Paint(has_colour(1))
    if daemon.snapshot is None:
        return status.text(daemon, paint)
    figures = table(daemon)
    return figures if daemon.state == view.RUNNING else f"{summary.title(daemon, paint)}\n{figures}"


def _watch(arguments: argparse.Namespace) -> int:
    """Show each look, until Ctrl-C or an error that the next look cannot mend; returns the exit status."""
    looks = _looks(arguments.socket, arguments.watch)
    first = next(looks)
    if first.snapshot is None and not arguments.prometheus:
        return _missing(first)
    if arguments.json or arguments.prometheus:
        for daemon in chain([first], looks):
            if (daemon.snapshot is not None or arguments.prometheus) and (exit_status := _show(daemon, arguments)):
                return exit_status
    history = History()
    with make_live() if is_capable(1) else nullcontext() as live:
        for daemon in chain([first], looks):
            history.add(daemon, time.monotonic())
            lines = [time.strftime("%H:%M:%S"), *_text(daemon).split("\n")]
            if daemon is not first:
                lines.append(_rates(history))
            if live is None:
                show("\n".join([*lines, ""]))
            else:
                live.update(_cropped(lines, live.console.height), refresh=True)
    return 0


def _looks(socket: str | None, seconds: float) -> Iterator[view.DaemonView]:
    """A look at the daemon every `seconds`, from start to start."""
    due = time.monotonic()
    while True:
        yield view.find(socket).load_usages()
        due = max(due + seconds, time.monotonic())  # skip the looks that a suspend has missed
        pause(due - time.monotonic())


def _rates(history: History) -> str:
    connections, received, sent = history.rates.values()
    return f"a second: {connections:.1f} connections, {size(int(received))} in, {size(int(sent))} out"


def _cropped(lines: list[str], height: int) -> Text:
    """As many lines as the screen has, with the head and the totals; `upperctl top` can scroll."""
    if len(lines) >= height:
        lines = [*lines[: max(1, height - 6)], f"... and {len(lines) - height + 2} more", *lines[-4:]]
    return Text.from_ansi("\n".join(lines), no_wrap=True, overflow="crop")


def table(daemon: view.DaemonView) -> str:
    """The text of the table: a row for each child, the queue, and the totals. The daemon has a snapshot."""
    assert daemon.snapshot is not None
    snapshot, header, usages = daemon.snapshot, daemon.header, daemon.usages
    # One listener needs no column. Without usages there is no memory and no processor time.
    left_out = {*([] if len(snapshot.listeners) > 1 else ["LISTENER"]), *([] if usages else ["PSS", "CPU"])}
    columns = [column for column in STATS if column.title not in left_out]
    memory = "PSS" if is_exact(usages.values()) else "RSS"
    rows = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        rows.add_column(column.title.replace("PSS", memory), justify="right", no_wrap=True)
    for child in snapshot.children:
        rows.add_row(*(column.text(Row(child, usages.get(child["pid"]))) for column in columns))
    shown = [name for name in (*_TOTALS, *snapshot.counters) if header[name] or name in _ALWAYS]
    sums = f"\nqueue: {summary.queue_text(header)}\ntotal: {summary.counts_text(header, shown)}"
    return drawn(rows, sums)


def data(daemon: view.DaemonView) -> dict[str, object]:
    """The whole snapshot, for JSON. Unknown values are null; times are microseconds of CLOCK_MONOTONIC.

    The names are an interface: the scoreboard's fields, the handler's counters, the fields of Usage, and those below.
    """
    assert daemon.snapshot is not None
    snapshot, header = daemon.snapshot, daemon.header
    return {
        **_words({name: value for name, value in header.items() if name != "magic"}),
        "version": snapshot.version,
        "name": snapshot.name,
        "handler": snapshot.handler,
        "running": {view.RUNNING: True, view.NOT_RUNNING: False}.get(daemon.state),
        "scoreboard": daemon.path,
        "now_usec": layout.now_usec(),
        "phase": layout.PHASES[header["phase"]],
        "listeners": snapshot.listeners,
        "counters": snapshot.counters,
        "busy": snapshot.busy,
        "spare": snapshot.spare,
        **_usage(daemon, header["pid"], Usage._fields),
        "children": [_child(daemon, child) for child in snapshot.children],
    }


def _child(daemon: view.DaemonView, child: dict[str, int]) -> dict[str, object]:
    return {
        **_words(child),
        "waiting": bool(child["waiting"]),
        "outcome": layout.OUTCOMES[child["outcome"]] or None,
        # A child has no children, so the reaped_ figures are always 0.
        **_usage(daemon, child["pid"], [name for name in Usage._fields if not name.startswith("reaped")]),
    }


def _words(figures: dict[str, int]) -> dict[str, int | None]:
    return {name: None if value == layout.UNKNOWN else value for name, value in figures.items()}


def _usage(daemon: view.DaemonView, pid: int, names: Iterable[str]) -> dict[str, int | None]:
    return {name: getattr(daemon.usages.get(pid), name, None) for name in names}
