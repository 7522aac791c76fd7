"""`upperctl status`: whether the daemon runs and what it does, as one screen of text or as JSON."""

from __future__ import annotations

import argparse
import json
import time

from upperd.base.text import duration, plural, printable, size
from upperd.ctl import summary, view
from upperd.ctl.output import PLAIN, Paint, has_colour, show
from upperd.ctl.units import Unit
from upperd.ctl.usage import is_exact
from upperd.server import layout

_FIGURES = (
    *("started_unix_usec", "max_children", "queued", "queued_users", "max_queue"),
    *("connections", "messages", "bytes_in", "bytes_out"),
)
"""Fields of the scoreboard that keep their names in the JSON object."""


def run(arguments: argparse.Namespace) -> int:
    """Show the daemon; returns the exit status that the LSB defines for an init script."""
    daemon = view.find(arguments.socket).load_usages()
    if arguments.json:
        show(json.dumps(data(daemon, daemon.unit), indent=2))
    else:
        show(text(daemon, Paint(has_colour(1)), daemon.unit))
    return daemon.state


def text(daemon: view.DaemonView, paint: Paint = PLAIN, unit: Unit | None = None) -> str:
    """The screen. Control characters in a path or a broken file are escaped."""
    trouble = trouble_text(daemon, unit)
    rows = [("trouble", paint(trouble, "yellow") if trouble else "none")]
    if unit is not None:
        rows.insert(0, ("unit", printable(f"{unit.name}: {unit.state}")))
    if daemon.snapshot is None:
        lines = [summary.title(daemon, paint), view.explain(daemon)]
        return "\n".join([*lines, *map(_row, rows if trouble else rows[:-1])])
    header = daemon.header
    ago = f"; {duration(summary.age(daemon))} ago" if daemon.state == view.RUNNING else ""
    totals = ["connections", "messages", "bytes_in", "bytes_out"]
    totals += [name for name in daemon.snapshot.counters if header[name]]
    rows = [
        ("since", f"{_when(header['started_unix_usec'])}{ago}"),
        *([("handler", printable(daemon.snapshot.handler))] if daemon.snapshot.handler else []),
        *(("listening", printable(listener)) for listener in daemon.snapshot.listeners),
        ("children", summary.children_text(daemon)),
        ("queue", summary.queue_text(header)),
        ("served", summary.counts_text(header, totals)),
        *([("memory", _memory_text(daemon))] if daemon.usages else []),
        *rows,
        ("scoreboard", printable(daemon.path)),
    ]
    return "\n".join([summary.title(daemon, paint), *map(_row, rows)])


def trouble_text(daemon: view.DaemonView, unit: Unit | None) -> str:
    """What is wrong, by the daemon's scoreboard, its socket and its unit; empty: nothing."""
    said = [summary.trouble_text(daemon)]
    if unit is not None:
        said.insert(0, unit.trouble)
        if daemon.state == view.RUNNING and "reload failed" in unit.status and "reload failed" not in said[1]:
            said.insert(0, unit.status)
    return printable("; ".join(filter(None, said)))


def data(daemon: view.DaemonView, unit: Unit | None = None) -> dict[str, object]:
    """The same for JSON. Every name is always there; unknown values are null. The names are an interface."""
    snapshot, header = daemon.snapshot, daemon.header
    has_phase = snapshot is not None and daemon.state == view.RUNNING
    usages = daemon.usages.values()
    memory = sum(usage.memory_bytes for usage in usages) if usages and is_exact(usages) else None
    return {
        "state": view.WORDS[daemon.state],
        "name": daemon.name,
        "socket": daemon.socket or None,
        "pid": (daemon.pid or None) if daemon.state == view.RUNNING else None,
        "phase": layout.PHASES[header["phase"]] if has_phase else None,
        "drain_seconds": (snapshot.drain_seconds or None) if has_phase and snapshot is not None else None,
        "version": snapshot.version if snapshot is not None else None,
        "handler": snapshot.handler if snapshot is not None else None,
        "listeners": snapshot.listeners if snapshot is not None else [],
        "busy": daemon.busy if snapshot is not None else None,
        "spare": daemon.spare if snapshot is not None else None,
        **{name: header.get(name) for name in _FIGURES},
        "memory_bytes": memory,
        "trouble": trouble_text(daemon, unit),
        "unit": unit.name if unit is not None else None,
        "unit_state": unit.state if unit is not None else None,
        "unit_restarts": unit.restarts if unit is not None else None,
        "scoreboard": daemon.path,
        "problem": daemon.problem or None,
    }


def _row(row: tuple[str, str]) -> str:
    return f"   {row[0]:<12} {row[1]}"


def _when(unix_usec: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_usec / 1e6))
    except (OverflowError, ValueError, OSError):
        return "unknown"


def _memory_text(daemon: view.DaemonView) -> str:
    usages = daemon.usages.values()
    if not is_exact(usages):
        return "unknown: only root may ask for it"
    return f"{size(sum(usage.memory_bytes for usage in usages))} in {plural(len(usages), 'process', 'processes')}"
