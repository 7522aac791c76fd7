"""Formats a daemon's figures for Prometheus (its documentation, "Exposition formats", text format version 0.0.4).

METRICS is the complete list, which the manual repeats. The names are a public interface. No metric has a child as a
label: with a child for each connection, every connection would create a new series.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from upperd.base.text import printable
from upperd.ctl.view import NOT_RUNNING, RUNNING, DaemonView
from upperd.server import layout

Samples = list[tuple[dict[str, str], float]]
"""The labels and the value of each sample."""


class Metric(NamedTuple):
    """A metric: its name, its help text, and the function that returns its samples."""

    name: str
    help: str
    samples: Callable[[DaemonView], Samples]


def exposition(daemon: DaemonView) -> str:
    """All metrics of a daemon in the text format; only `upperd_up` if its scoreboard cannot be read."""
    shown = METRICS if daemon.snapshot is not None else METRICS[:1]
    return "".join(line for metric in shown for line in _lines(metric, metric.samples(daemon), daemon.name))


def _lines(metric: Metric, samples: Samples, name: str) -> Iterator[str]:
    if samples:
        yield f"# HELP {metric.name} {metric.help}\n"
        yield f"# TYPE {metric.name} {'counter' if metric.name.endswith('_total') else 'gauge'}\n"
    for labels, value in samples:
        # Two daemons may write to one folder of text files; only this label distinguishes their series.
        pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in ({"name": name} | labels).items())
        yield f"{metric.name}{{{pairs}}} {_number(value)}\n"


def _escaped(text: str) -> str:
    """A label value, escaped for the format. Control characters, which the format allows, are escaped first."""
    return printable(text).replace("\\", r"\\").replace('"', r"\"").encode("utf-8", "replace").decode()


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) else repr(value)


def _field(name: str, divisor: int = 1) -> Callable[[DaemonView], Samples]:
    """The samples of a header field, converted to the base unit by `divisor`."""
    return lambda daemon: [({}, daemon.header[name] / divisor if divisor != 1 else daemon.header[name])]


def _parts(label: str, prefix: str) -> Callable[[DaemonView], Samples]:
    """The samples of the header fields that split up the total `prefix`: refused_access, refused_user."""
    names = [name for name in layout.HEADER_FIELDS if name.startswith(f"{prefix}_")]
    return lambda daemon: [({label: name.removeprefix(f"{prefix}_")}, daemon.header[name]) for name in names]


def _up(daemon: DaemonView) -> Samples:
    return [({}, {RUNNING: 1.0, NOT_RUNNING: 0.0}.get(daemon.state, math.nan))]


def _build(daemon: DaemonView) -> Samples:
    return [({"version": daemon.snapshot.version if daemon.snapshot else "?"}, 1)]


def _phase(daemon: DaemonView) -> Samples:
    now = layout.STOPPED if daemon.state == NOT_RUNNING else daemon.header["phase"]
    return [({"phase": phase}, number == now) for number, phase in enumerate(layout.PHASES)]


def _listeners(daemon: DaemonView) -> Samples:
    listeners = daemon.snapshot.listeners if daemon.snapshot else []
    return [({"listener": str(number), "address": text}, 1) for number, text in enumerate(listeners)]


def _children(daemon: DaemonView) -> Samples:
    return [({"state": "busy"}, daemon.busy), ({"state": "spare"}, daemon.spare)]


def _counters(daemon: DaemonView) -> Samples:
    return [({"counter": name}, daemon.header[name]) for name in (daemon.snapshot.counters if daemon.snapshot else [])]


def _memory(field: str) -> Callable[[DaemonView], Samples]:
    """A usage field of the parent, and its sum over the children; no sample if it may not be read."""

    def samples(daemon: DaemonView) -> Samples:
        groups = {"parent": [daemon.header["pid"]], "children": [child["pid"] for child in daemon.children]}
        found: Samples = []
        for group, pids in groups.items():
            values = [getattr(daemon.usages[pid], field) for pid in pids if pid in daemon.usages]
            if values and None not in values:
                found.append(({"process": group}, sum(values)))
        return found

    return samples


def _cpu(daemon: DaemonView) -> Samples:
    usage = daemon.usages.get(daemon.header["pid"])
    if usage is None:
        return []
    user, system = usage.user_usec + usage.reaped_user_usec, usage.system_usec + usage.reaped_system_usec
    return [({"mode": "user"}, user / 1e6), ({"mode": "system"}, system / 1e6)]


_TABLE: tuple[tuple[str, str, Callable[[DaemonView], Samples]], ...] = (
    ("up", "Whether the daemon runs: 1 yes, 0 no, NaN if unknown.", _up),
    ("build_info", "The version of the daemon.", _build),
    ("start_time_seconds", "When the daemon started, since 1970.", _field("started_unix_usec", 10**6)),
    ("phase", "1 for the daemon's current phase.", _phase),
    ("listener_info", "Where the daemon listens.", _listeners),
    ("children", "Children that live.", _children),
    ("max_children", "Limit of children.", _field("max_children")),
    ("queued_connections", "Connections that wait for a child.", _field("queued")),
    ("queued_users", "Users whose connections wait for a child.", _field("queued_users")),
    ("max_queue", "Limit of connections that wait for a child.", _field("max_queue")),
    ("wanted_spare_children", "Spare children to keep ready.", _field("spare_children")),
    ("connections_per_child", "Connections that a child serves before it exits.", _field("connections_per_child")),
    ("max_children_per_user", "Limit of children that serve one user; 0: none.", _field("max_children_per_user")),
    ("drain_timeout_seconds", "Time limit of a drain.", _field("drain_timeout_usec", 10**6)),
    ("idle_timeout_seconds", "Idle limit of a connection; 0: none.", _field("idle_timeout_usec", 10**6)),
    ("max_lifetime_seconds", "Time limit of a connection; 0: none.", _field("max_lifetime_usec", 10**6)),
    ("max_bytes", "Limit of bytes that a client may send; 0: none.", _field("max_bytes")),
    ("children_forked_total", "Children forked.", _field("forked")),
    ("children_ended_total", "Children that have exited.", _field("ended")),
    ("children_crashed_total", "Children that crashed.", _field("crashed")),
    ("children_cut_total", "Children cut at the drain deadline.", _field("cut")),
    ("children_killed_total", "Children killed after the drain deadline.", _field("killed")),
    ("children_overdue_total", "Children killed because they outlasted a limit.", _field("overdue")),
    ("children_stopped_total", "Children killed because they did not start.", _field("stopped")),
    ("fork_failures_total", "Forks that failed.", _field("fork_failures")),
    ("connections_total", "Connections served, including those still open.", _field("connections")),
    ("connections_waited_total", "Connections that had to wait for a child.", _field("waited")),
    ("connections_handed_again_total", "Connections handed to another child.", _field("handed_again")),
    ("connections_lost_total", "Connections that no child served.", _field("lost")),
    ("connections_refused_total", "Connections refused.", _field("refused")),
    ("connections_refused_by_reason_total", "Connections refused by a rule or limit.", _parts("reason", "refused")),
    ("datagrams_unanswered_total", "Datagrams without an answer.", _field("unanswered")),
    (
        "datagrams_unanswered_by_reason_total",
        "Datagrams without an answer: it is too long, or the peer does not read.",
        _parts("reason", "unanswered"),
    ),
    (
        "connections_ended_by_limit_total",
        "Connections ended by the daemon: at a limit, or because the peer is no longer allowed.",
        _parts("limit", "ended"),
    ),
    ("messages_total", "Reads that returned data.", _field("messages")),
    ("received_bytes_total", "Bytes received from peers.", _field("bytes_in")),
    ("sent_bytes_total", "Bytes sent to peers.", _field("bytes_out")),
    ("handler_counter_total", "Counters of the handler, such as undecodable bytes.", _counters),
    ("log_records_lost_total", "Log entries lost.", _field("records_lost")),
    ("resident_memory_bytes", "Resident memory; shared pages count for each process.", _memory("rss_bytes")),
    ("proportional_memory_bytes", "Proportional memory: shared pages are divided (PSS).", _memory("pss_bytes")),
    ("cpu_seconds_total", "Processor time of the parent and of children that have exited.", _cpu),
)
METRICS = [Metric(f"upperd_{name}", text, samples) for name, text, samples in _TABLE]
