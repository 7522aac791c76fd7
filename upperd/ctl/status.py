"""`upperctl status`: whether the daemon runs, and what it does, on one screen."""

from __future__ import annotations

import argparse
import time

from upperd.base.text import duration, plural, printable, size
from upperd.ctl import view
from upperd.ctl.output import PLAIN, Paint, has_colour, show


def run(arguments: argparse.Namespace) -> int:
    """Show the daemon; returns the exit status, the LSB's for an init script."""
    daemon = view.find(arguments.socket).load_usages()
    show(text(daemon, Paint(has_colour(1))))
    return daemon.state


def text(daemon: view.DaemonView, paint: Paint = PLAIN) -> str:
    """The screen, without control characters, whatever a path or a broken file has in it."""
    if daemon.snapshot is None:
        return f"{view.title(daemon, paint)}\n{view.explain(daemon)}"
    header, trouble = daemon.header, view.trouble_text(daemon.header)
    ago = f"; {duration(view.age(daemon))} ago" if daemon.state == view.RUNNING else ""
    own = view.counts_text(header, [name for name in daemon.snapshot.counters if header[name]])
    served = (
        f"{plural(header['connections'], 'connection')}, {plural(header['messages'], 'message')}, "
        f"{size(header['bytes_in'])} in, {size(header['bytes_out'])} out{', ' if own else ''}{own}"
    )
    rows = [
        ("since", f"{_when(header['started_unix_usec'])}{ago}"),
        *([("handler", printable(daemon.snapshot.handler))] if daemon.snapshot.handler else []),
        *(("listening", printable(listener)) for listener in daemon.snapshot.listeners),
        ("children", view.children_text(daemon)),
        ("queue", view.queue_text(header)),
        ("served", served),
        *([("memory", _memory(daemon))] if daemon.usages else []),
        ("trouble", paint(trouble, "yellow") if trouble else "none"),
        ("scoreboard", printable(daemon.path)),
    ]
    return "\n".join([view.title(daemon, paint), *(f"   {name:<12} {line}" for name, line in rows)])


def _when(unix_usec: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_usec / 1e6))
    except (OverflowError, ValueError, OSError):
        return "unknown"


def _memory(daemon: view.DaemonView) -> str:
    usages = daemon.usages.values()
    if not view.is_exact(usages):
        return "unknown: only root may ask for it"
    return f"{size(sum(usage.memory_bytes for usage in usages))} in {plural(len(usages), 'process', 'processes')}"
