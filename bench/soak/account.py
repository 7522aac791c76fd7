"""What the daemons say of themselves: the scoreboard that each leaves behind, and its log.

A child counts a connection before it serves it, and the parent holds it until then: a child that is killed loses none
that is not counted. A parent that is killed loses what waited in its queue, and the one that it had in its hands. How
many they were is in its last figures: `unknown` at most.
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
"""What the records of children in the log add up to; `refused` has entries of its own."""
_ENTRY = re.compile(r"upperd\[\d+\] (\w+): (.*)$")
_FIELD = re.compile(r" (\w+)=(\S*)")


@dataclass
class Account:
    """The sums of all daemons that have ended."""

    columns: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    """Of the log, of the daemons that ended in order."""
    orderly: Counter[str] = field(default_factory=Counter)
    """The same columns of the scoreboard, of those daemons."""
    outcomes: Counter[str] = field(default_factory=Counter)
    daemons: int = 0
    dropped: int = 0
    """Connections that still waited for a child at the deadline of a drain."""
    unknown: int = 0
    """Connections at most that were accepted but not counted, since the parent was killed."""
    interrupted: int = 0
    """Connections at most that a drain ended, or the service manager when their parent had been killed."""
    left: int = 0
    """Children that a killed parent left behind, as its last figures have them."""
    cut_short: int = 0
    """Of these, the ones that served and were killed, too."""
    parents_killed: int = 0
    abnormal: list[int] = field(default_factory=list)
    """The pids of children that ended by a signal, or with another status than 0, of which no limit is the cause."""
    failures: list[str] = field(default_factory=list)
    _recorded_cut: int = 0

    def add(self, scoreboard: Path, log: Path, *, was_killed: bool, cut_short: int = 0) -> None:
        """A daemon has ended, and so have its children.

        `cut_short`: how many of them served when they were killed after their parent.
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
        """The parent was killed. The children that it had are in the table for ever."""
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
