"""The figures and their units, the cases, and the findings of a run."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Figure:
    title: str
    unit: str
    is_more_better: bool


FIGURES = {
    "rate": Figure("rate", "1/s", True),
    "throughput": Figure("throughput", "MiB/s", True),
    "p50": Figure("median latency", "us", False),
    "p99": Figure("latency, 99 %", "us", False),
    "cpu": Figure("server's CPU time", "us each", False),
    "memory": Figure("memory (PSS) of a held connection", "KiB", False),
    "shared": Figure("rate, to that of one user", "", True),
    "kept": Figure("rate with many held, to that with one", "", True),
    "growth": Figure("CPU per connection with many held, to that with one", "", False),
    "time": Figure("time", "ms", False),
    "wait": Figure("median wait of another user", "ms", False),
    "longest": Figure("longest wait", "ms", False),
    "refused": Figure("refused, or not answered within 2 s", "of 200", False),
    "child": Figure("a child's page faults", "each", False),
    "parent": Figure("the parent's page faults", "each", False),
}

CASES = {
    "connections-1": ("Connections of 64 bytes, 1 client", "rate"),
    "connections-8": ("Connections of 64 bytes, 8 clients", "rate"),
    "connections-32": ("Connections of 64 bytes, 32 clients", "rate"),
    "handler-1": ("A StreamRequestHandler, connections of 64 bytes, 1 client", "rate"),
    "handler-8": ("A StreamRequestHandler, connections of 64 bytes, 8 clients", "rate"),
    "handler-32": ("A StreamRequestHandler, connections of 64 bytes, 32 clients", "rate"),
    "users-1-1": ("One user, by root's setresuid(), 1 client", "rate"),
    "users-1-8": ("One user, by root's setresuid(), 8 clients", "rate"),
    "users-4-1": ("4 users in turn, 1 client", "rate"),
    "users-4-8": ("4 users in turn, 8 clients", "rate"),
    "users-50-1": ("50 users in turn, 1 client", "rate"),
    "users-50-8": ("50 users in turn, 8 clients", "rate"),
    "users-200-1": ("200 users in turn, 64 children, 1 client", "rate"),
    "users-200-8": ("200 users in turn, 64 children, 8 clients", "rate"),
    "pingpong": ("Ping-pong of 64 bytes on one connection", "rate"),
    "bulk-ascii": ("Bulk, ASCII", "throughput"),
    "bulk-french": ("Bulk, French", "throughput"),
    "bulk-cyrillic": ("Bulk, Cyrillic", "throughput"),
    "bulk-greek": ("Bulk, Greek", "throughput"),
    "bulk-mixed": ("Bulk, mixed", "throughput"),
    "memory": ("Memory of a held connection", "memory"),
    "held": ("With many connections held", "kept"),
    "send": ("Sending a word from the command line", "time"),
    "start": ("From the start to READY=1", "time"),
    "faults": ("Page faults of a connection", "child"),
    "attack-none": ("Another user's wait while nobody attacks", "wait"),
    "attack-idle": ("... while one user holds 200 connections and is silent", "wait"),
    "attack-slow": ("... sends a byte a second on each of 200 connections", "wait"),
    "attack-unread": ("... sends on 200 connections, and never reads", "wait"),
    "attack-flood": ("... connects and closes in a loop, by four processes", "wait"),
    "attack-fill": ("... wants 8,000 connections, by four processes, and tries again when refused", "wait"),
    "attack-datagrams": ("... sends datagrams in a loop, by four processes", "wait"),
    "attack-datagrams-unread": ("... the same, and never reads an answer", "wait"),
    "attack-datagrams-connected": ("... the same, by sockets that are connected", "wait"),
}
"""By name: the title, and the main figure, by which the rows are sorted."""


@dataclass
class Record:
    """The figures of one contender in one case of one round."""

    round: int
    case: str
    contender: str
    figures: dict[str, float]


@dataclass
class Findings:
    """All findings of a run."""

    records: list[Record] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    """Why a contender could not take part at all."""
    failures: dict[str, list[str]] = field(default_factory=dict)
    """The failures by "WORK of CONTENDER": a reason for each round that failed."""
    machine: dict[str, str] = field(default_factory=dict)

    def contenders(self, case: str) -> list[str]:
        return list(dict.fromkeys(record.contender for record in self.records if record.case == case))

    def cases(self) -> list[str]:
        measured = {record.case for record in self.records}
        return [case for case in CASES if case in measured]

    def values(self, case: str, contender: str, figure: str) -> dict[int, float]:
        """The values of a figure by round."""
        return {
            record.round: record.figures[figure]
            for record in self.records
            if (record.case, record.contender) == (case, contender) and figure in record.figures
        }

    def ratios(self, case: str, contender: str, other: str, figure: str) -> list[float]:
        """The ratio of `contender` to `other` in each round that has both."""
        ours, theirs = self.values(case, contender, figure), self.values(case, other, figure)
        return [ours[number] / theirs[number] for number in ours if theirs.get(number)]


@dataclass(frozen=True)
class Spread:
    """The median, the extremes and the quartiles of the rounds."""

    low: float
    quarter: float
    median: float
    three_quarters: float
    high: float


def spread(values: list[float]) -> Spread | None:
    """The spread of the values; None if there are none."""
    if not values:
        return None
    if len(values) == 1:
        return Spread(*values * 5)
    quarter, median, three_quarters = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(min(values), quarter, median, three_quarters, max(values))
