"""The lines that `upperctl status`, `stats` and `top` have in common: the title, the children, the queue, the trouble.

They are made of what view.py has seen; nothing here looks at the daemon.
"""

from __future__ import annotations

from collections.abc import Iterable

from upperd.base import installation
from upperd.base.text import plural, printable, size
from upperd.ctl.output import PLAIN, Paint
from upperd.ctl.view import NOT_RUNNING, RUNNING, UNKNOWN, WORDS, DaemonView
from upperd.server import layout

_COLOURS = {RUNNING: "green", NOT_RUNNING: "red", UNKNOWN: "yellow"}
_TROUBLE = (
    *("crashed", "cut", "killed", "overdue", "stopped", "lost", "refused", "unanswered"),
    *("fork_failures", "records_lost"),
)


def title(view: DaemonView, paint: Paint = PLAIN) -> str:
    """One line: which daemon, whether it runs, and its phase."""
    styles = ("bold", _COLOURS[view.state])
    dot = paint("\u25cf ", *styles) if paint.is_on else ""
    word = paint(WORDS[view.state], *styles)
    if view.snapshot is None:
        pid = f" (pid {view.pid})" if view.pid and view.state == RUNNING else ""
        return f"{dot}{printable(view.name)}: {word}{pid}"
    phase = f", {drain_text(view) or layout.PHASES[view.header['phase']]}" if view.state == RUNNING else ""
    last = "" if view.state == RUNNING else "; these are its last figures"
    which = printable(f"{view.name} {view.snapshot.version}")
    return f"{dot}{which}: {word} (pid {view.header['pid']}){phase}{last}"


def drain_text(view: DaemonView) -> str:
    """What to tell a client while the daemon drains; empty: it does not drain."""
    if view.state == NOT_RUNNING or view.snapshot is None or not view.snapshot.drain_seconds:
        return ""
    return f"draining, try again in {view.snapshot.drain_seconds} s"


def age(view: DaemonView) -> float:
    """Seconds since the daemon started."""
    return (layout.now_usec() - view.header["started_usec"]) / 1e6


def children_text(view: DaemonView) -> str:
    """How many children are busy and spare, and how many may be."""
    return f"{view.busy} busy, {view.spare} spare, at most {view.header['max_children']}"


def queue_text(header: dict[str, int]) -> str:
    """How many connections wait for a child, and of how many users."""
    users = f" of {plural(header['queued_users'], 'user')}" if header["queued"] else ""
    return f"{plural(header['queued'], 'connection')}{users}, at most {header['max_queue']}"


_PLURALS = {"connections", "messages", "fork_failures", "records_lost"}
"""Fields that have a singular."""


def trouble_text(view: DaemonView) -> str:
    """What is wrong now, and the counts of what has gone wrong; empty: nothing."""
    header, said = view.header, []
    for path in view.lost:
        said.append(f"{path} was removed, so no client finds it: {_cure_of_lost(view, path)}")
    if view.snapshot is not None and view.state == RUNNING:
        if view.snapshot.busy >= header["max_children"]:
            said.append("every child is busy" + (f", {header['queued']} wait" if header["queued"] else ""))
        said += [view.snapshot.note] if view.snapshot.note else []
    if counted := [name for name in _TROUBLE if header.get(name)]:
        said.append(counts_text(header, counted))
    return printable("; ".join(said))


def _cure_of_lost(view: DaemonView, path: str) -> str:
    listeners = view.snapshot.listeners if view.snapshot is not None else []
    if any(f":{path} (activated" in line for line in listeners):
        return "restart its socket unit"
    reload = f"kill -HUP {view.pid}" if view.pid else "SIGHUP"
    return f"a reload binds it anew ({installation.command('reload', reload)})"


def counts_text(header: dict[str, int], names: Iterable[str]) -> str:
    """Fields of the header with their names: 1 connection, 3.1 kB in."""
    return ", ".join(_count(name, header[name]) for name in names)


def _count(name: str, value: int) -> str:
    if name.startswith("bytes_"):
        return f"{size(value)} {name.removeprefix('bytes_')}"
    if value == 1 and name in _PLURALS:
        name = name.replace("s_lost", "_lost").removesuffix("s")
    return f"{value} {name.replace('_', ' ')}"
