"""Sums up the reports of the daemons: the scoreboard that each leaves behind, and its log.

A child counts a connection before it serves it, and the parent holds the connection until then. So a child that is
killed loses no uncounted connection. A parent that is killed loses the connections in its queue and the one that it
just handled; its last scoreboard gives an upper bound, `unknown`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from upperd.server.layout import STOPPED
from upperd.server.snapshot import Snapshot, read

COLUMNS = (
    "connections", "refused", "refused_access", "refused_user", "refused_rate", "ended_idle", "ended_lifetime",
    "ended_bytes", "ended_access", "cut", "killed", "overdue", "stopped", "crashed", "waited", "handed_again", "lost",
    "fork_failures", "records_lost", "forked", "ended", "bytes_in", "bytes_out",
)  # fmt: skip
RECORDED = ("connections", "messages", "bytes_in", "bytes_out", "undecodable")
"""The columns that the log records of children add up to; `refused` has records of its own."""
_ENTRY = re.compile(r"upperd\[\d+\] (\w+): (.*)$")
_FIELD = re.compile(r" (\w+)=(\S*)")


@dataclass
class Account:
    """The sums of all daemons that have ended."""

    columns: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    """Sums from the logs of the daemons that ended in order."""
    orderly: Counter[str] = field(default_factory=Counter)
    """The same columns from the scoreboards of those daemons."""
    outcomes: Counter[str] = field(default_factory=Counter)
    daemons: int = 0
    dropped: int = 0
    """Connections that still waited for a child at the drain deadline."""
    unknown: int = 0
    """Upper bound: connections that were accepted but not counted, because the parent was killed."""
    interrupted: int = 0
    """Upper bound: connections ended by a drain, or by the service manager after the parent was killed."""
    left: int = 0
    """Children that killed parents left behind, by their last scoreboards."""
    cut_short: int = 0
    """Of these children, the ones that were killed while they served."""
    parents_killed: int = 0
    abnormal: list[int] = field(default_factory=list)
    """The pids of children that ended by a signal or with a status other than 0, but not because of a limit."""
    failures: list[str] = field(default_factory=list)
    _recorded_cut: int = 0

    def add(self, scoreboard: Path, log: Path, *, was_killed: bool, cut_short: int = 0) -> None:
        """Account for a daemon that has ended together with its children.

        `cut_short`: how many children were killed after their parent while they served.
        """
        self.daemons += 1
        self._recorded_cut = 0
        board = read(str(scoreboard))
        self.columns.update({name: board.header[name] for name in COLUMNS})
        recorded = self._read_log(log.read_text("utf-8", "backslashreplace"))
        dropped = board.header["cut"] - self._recorded_cut
        if was_killed:
            self._add_killed(board)
            self.unknown += max(dropped, 0)
            self.cut_short += cut_short
            self.interrupted += cut_short
            if recorded["connections"] > board.header["connections"]:
                self.failures.append(f"{log}: more connections in the log than in the scoreboard")
        else:
            self._add_orderly(board, recorded, log)
            self.dropped += dropped

    def _add_orderly(self, board: Snapshot, recorded: Counter[str], log: Path) -> None:
        header = board.header
        self.records.update(recorded)
        self.orderly.update({name: header[name] for name in (*RECORDED, "refused")})
        for name in (*RECORDED, "refused"):
            if recorded[name] != header[name]:
                self.failures.append(f"{log}: {recorded[name]} {name} in the log, {header[name]} in the scoreboard")
        if board.children or header["forked"] != header["ended"]:
            self.failures.append(f"{log}: {header['forked']} forked, {header['ended']} ended, at an orderly end")
        if header["phase"] != STOPPED:
            self.failures.append(f"{log}: its phase is not `stopped`")
        if header["queued"]:
            self.failures.append(f"{log}: {header['queued']} connections wait, at an orderly end")

    def _add_killed(self, board: Snapshot) -> None:
        """Account for a killed parent. The children that it had remain in the scoreboard."""
        self.parents_killed += 1
        self.left += len(board.children)
        begun_by_none = sum(child["handed"] != child["connections"] for child in board.children)
        self.unknown += board.header["queued"] + begun_by_none + 1

    def _read_log(self, log: str) -> Counter[str]:
        recorded: Counter[str] = Counter()
        for line in log.splitlines():
            entry = _ENTRY.match(line)
            if entry is None:
                self.failures.append(f"an unexpected line in the log: {line[:300]}")
                continue
            event, rest = entry.groups()
            fields = dict(_FIELD.findall(rest))
            if event == "end":
                self._read_end(rest, fields)
            if event in ("end", "ends"):
                recorded.update({name: int(fields[name]) for name in RECORDED})
            elif event == "deny":
                recorded["refused"] += int(fields["refused"])
            elif event == "drain":
                self.interrupted += int(fields["busy"]) + int(fields["waiting"])
        return recorded

    def _read_end(self, sentence: str, fields: dict[str, str]) -> None:
        self.outcomes[fields["outcome"]] += 1
        self._recorded_cut += " was cut " in sentence
        if " ended by " in sentence or " ended with " in sentence:
            self.abnormal.append(int(fields["child_pid"]))
