"""The figures of a daemon in Prometheus's text format (its documentation, "Exposition formats", version 0.0.4).

METRICS is the whole list, which the manual has, too; the names are an interface. There is no series for a child: with
a child for every connection each would be a series of its own, and stay for ever.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from upperd.base.text import printable
from upperd.ctl import view
from upperd.server import layout

if TYPE_CHECKING:
    from upperd.ctl.usage import Usage

CONTENT_TYPE = "text/plain; version=0.0.4"

Labels = dict[str, str]
Samples = list[tuple[Labels, float]]
"""One sample for each set of labels."""


class Metric(NamedTuple):
    """A metric: what it is named, its help, and how it is had from one look at a daemon."""

    name: str
    help: str
    samples: Callable[[Look], Samples]

    @property
    def kind(self) -> str:
        """Its type: the name tells."""
        return "counter" if self.name.endswith("_total") else "gauge"


class Look(NamedTuple):
    """What there is to be told."""

    sight: view.Sight
    header: dict[str, int]
    usages: dict[int, Usage]

    @property
    def children(self) -> list[dict[str, int]]:
        """Those that live: a daemon that was killed leaves their slots as they were."""
        snapshot = self.sight.snapshot
        return snapshot.children if snapshot is not None and self.sight.state != view.NOT_RUNNING else []

    def own(self, pids: list[int], field: str) -> float | None:
        """The sum of a field of the usage of these processes, as far as they live; None: it may not be asked for."""
        values = [getattr(usage, field) for usage in map(self.usages.get, pids) if usage is not None]
        return None if not values or None in values else float(sum(values))


def exposition(sight: view.Sight, usages: dict[int, Usage]) -> str:
    """All metrics of one look at a daemon; where its scoreboard cannot be read, `upperd_up` alone."""
    header = sight.snapshot.header if sight.snapshot is not None else {}
    look = Look(sight, header, usages)
    shown = METRICS if header else METRICS[:1]
    return "".join(line for metric in shown for line in _lines(metric, metric.samples(look)))


def _lines(metric: Metric, samples: Samples) -> Iterator[str]:
    if samples:
        yield f"# HELP {metric.name} {metric.help}\n"
        yield f"# TYPE {metric.name} {metric.kind}\n"
    for labels, value in samples:
        pairs = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        yield f"{metric.name}{f'{{{pairs}}}' if pairs else ''} {_number(value)}\n"


def _escaped(text: str) -> str:
    """As the format has it; control characters, which it would let through, as escapes before."""
    return printable(text).replace("\\", r"\\").replace('"', r"\"").encode("utf-8", "replace").decode()


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) else repr(value)


# How a metric is had


def _up(look: Look) -> Samples:
    value = {view.RUNNING: 1.0, view.NOT_RUNNING: 0.0}.get(look.sight.state, math.nan)
    return [({}, value)]


def _build(look: Look) -> Samples:
    assert look.sight.snapshot is not None
    return [({"version": look.sight.snapshot.version}, 1)]


def _phase(look: Look) -> Samples:
    now = layout.PHASES[look.header["phase"]]
    if look.sight.state == view.NOT_RUNNING:
        now = layout.PHASES[layout.STOPPED]
    return [({"phase": phase}, float(phase == now)) for phase in layout.PHASES]


def _listeners(look: Look) -> Samples:
    assert look.sight.snapshot is not None
    listeners = enumerate(look.sight.snapshot.listeners)
    return [({"listener": str(number), "address": text}, 1) for number, text in listeners]


def _children(look: Look) -> Samples:
    waiting = [child["waiting"] for child in look.children]
    return [({"state": "busy"}, waiting.count(0)), ({"state": "spare"}, waiting.count(1))]


def _field(name: str, divisor: int = 1) -> Callable[[Look], Samples]:
    """A field of the header, in the base unit."""
    return lambda look: [({}, look.header[name] / divisor if divisor != 1 else look.header[name])]


def _by(label: str, prefix: str, *values: str) -> Callable[[Look], Samples]:
    """Fields of the header that tell apart what another sums up."""
    return lambda look: [({label: value}, look.header[f"{prefix}_{value}"]) for value in values]


def _memory(field: str) -> Callable[[Look], Samples]:
    def samples(look: Look) -> Samples:
        groups = {"parent": [look.header["pid"]], "children": [child["pid"] for child in look.children]}
        found = {group: look.own(pids, field) for group, pids in groups.items()}
        return [({"process": group}, value) for group, value in found.items() if value is not None]

    return samples


def _cpu(look: Look) -> Samples:
    usage = look.usages.get(look.header["pid"])
    if usage is None:
        return []
    user, system = usage.user_usec + usage.reaped_user_usec, usage.system_usec + usage.reaped_system_usec
    return [({"mode": "user"}, user / 1e6), ({"mode": "system"}, system / 1e6)]


METRICS = (
    Metric("upperd_up", "Whether the daemon runs: 1 yes, 0 no, NaN where it cannot be told.", _up),
    Metric("upperd_build_info", "The version of the daemon.", _build),
    Metric("upperd_start_time_seconds", "When the daemon started, since 1970.", _field("started_unix_usec", 10**6)),
    Metric("upperd_phase", "1 for the phase of the daemon's life that it is in.", _phase),
    Metric("upperd_listener_info", "Where the daemon listens.", _listeners),
    Metric("upperd_children", "Children that live.", _children),
    Metric("upperd_max_children", "Children that there may be.", _field("max_children")),
    Metric("upperd_wanted_spare_children", "Spare children that are kept.", _field("spare_children")),
    Metric("upperd_connections_per_child", "Connections that a child serves.", _field("connections_per_child")),
    Metric("upperd_max_children_per_user", "Children that a user may have; 0: any.", _field("max_children_per_user")),
    Metric("upperd_drain_timeout_seconds", "The deadline of a drain.", _field("drain_timeout_usec", 10**6)),
    Metric("upperd_idle_timeout_seconds", "The idle limit; 0: none.", _field("idle_timeout_usec", 10**6)),
    Metric("upperd_max_lifetime_seconds", "The limit of lifetime; 0: none.", _field("max_lifetime_usec", 10**6)),
    Metric("upperd_max_bytes", "The limit of bytes of a connection; 0: none.", _field("max_bytes")),
    Metric("upperd_penalised_users", "Users who are kept out for their rate.", _field("penalised")),
    Metric("upperd_children_forked_total", "Children forked.", _field("forked")),
    Metric("upperd_children_ended_total", "Children that have ended.", _field("ended")),
    Metric("upperd_children_crashed_total", "Children that ended by themselves, abnormally.", _field("crashed")),
    Metric("upperd_children_cut_total", "Children cut at the drain deadline.", _field("cut")),
    Metric("upperd_children_killed_total", "Children killed after the drain deadline.", _field("killed")),
    Metric("upperd_children_overdue_total", "Children killed since they outlasted a limit.", _field("overdue")),
    Metric("upperd_fork_failures_total", "Forks that failed.", _field("fork_failures")),
    Metric("upperd_connections_total", "Connections accepted.", _field("connections")),
    Metric("upperd_connections_passed_total", "Connections passed to a child of their own.", _field("passed")),
    Metric("upperd_connections_refused_total", "Connections refused.", _field("refused")),
    Metric(
        "upperd_connections_refused_by_reason_total",
        "Connections refused by a rule or limit.",
        _by("reason", "refused", "access", "user", "rate"),
    ),
    Metric("upperd_datagrams_unanswered_total", "Datagrams that had no answer.", _field("unanswered")),
    Metric(
        "upperd_datagrams_unanswered_by_reason_total",
        "Datagrams that had no answer: it, or they, are too long, or the peer does not read.",
        _by("reason", "unanswered", "size", "full"),
    ),
    Metric(
        "upperd_connections_ended_by_limit_total",
        "Connections ended by the daemon: at a limit, or since the peer is no longer allowed.",
        _by("limit", "ended", "idle", "lifetime", "bytes", "access"),
    ),
    Metric("upperd_messages_total", "Reads that brought something.", _field("messages")),
    Metric("upperd_received_bytes_total", "Bytes received from peers.", _field("bytes_in")),
    Metric("upperd_sent_bytes_total", "Bytes sent to peers.", _field("bytes_out")),
    Metric("upperd_undecodable_bytes_total", "Bytes that were not UTF-8.", _field("undecodable")),
    Metric("upperd_log_records_lost_total", "Log entries lost.", _field("records_lost")),
    Metric("upperd_resident_memory_bytes", "Resident memory; what is shared counts for each.", _memory("rss_bytes")),
    Metric("upperd_proportional_memory_bytes", "Memory, shared parts divided (PSS).", _memory("pss_bytes")),
    Metric("upperd_cpu_seconds_total", "Processor time of the parent and of children that have ended.", _cpu),
)
