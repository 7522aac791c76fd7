"""What the daemons say of themselves: the scoreboard that each leaves behind, and its log.

A connection that was accepted is counted by its child a moment later. Where the child or the parent is killed in that
moment nobody can know: so for every kill the children are counted that may have been in it, `unknown` at most.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from upperd.server import layout
from upperd.server.snapshot import Snapshot, read

PASSING = 12
"""Connections that may be on their way from a child to the parent: net.unix.max_dgram_qlen, and two more."""
COLUMNS = (
    "connections", "refused", "refused_access", "refused_user", "refused_rate", "ended_idle", "ended_lifetime",
    "ended_bytes", "ended_access", "cut", "killed", "overdue", "crashed", "passed", "fork_failures", "records_lost",
    "forked", "ended", "bytes_in", "bytes_out",
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
    unknown: int = 0
    """Connections at most that were accepted but not counted, since somebody was killed."""
    interrupted: int = 0
    """Connections at most that a drain or the end of a parent ended."""
    left: int = 0
    """Children that a killed parent left behind, as its last figures have them."""
    abnormal: list[int] = field(default_factory=list)
    """The pids of children that ended by a signal, or with another status than 0, of which no limit is the cause."""
    failures: list[str] = field(default_factory=list)
    _recorded_cut: int = 0

    def add(self, scoreboard: Path, log: Path, *, was_killed: bool, may_pass: bool) -> None:
        """A daemon has ended, and so have its children."""
        self.daemons += 1
        self._recorded_cut = 0
        board = read(str(scoreboard))
        self.columns.update({name: board.header[name] for name in COLUMNS})
        recorded = self._read_log(log.read_text("utf-8", "backslashreplace"))
        if was_killed:
            self._add_killed(board, may_pass)
            if recorded["connections"] > board.header["connections"]:
                self.failures.append(f"{log}: more connections in the log than in the scoreboard")
        else:
            self._add_orderly(board, recorded, log, may_pass)

    def _add_orderly(self, board: Snapshot, recorded: Counter[str], log: Path, may_pass: bool) -> None:
        header = board.header
        self.records.update(recorded)
        self.orderly.update({name: header[name] for name in (*RECORDED, "refused")})
        # Those that had been passed up, and had no child of their own by the deadline.
        self.unknown += header["cut"] - self._recorded_cut
        for name in (*RECORDED, "refused"):
            if recorded[name] != header[name]:
                self.failures.append(f"{log}: {recorded[name]} {name} in the log, {header[name]} in the scoreboard")
        # Who still waited when the drain began may have taken a connection then.
        self.interrupted += header["max_children"] if may_pass else header["spare_children"]
        if board.children or header["forked"] != header["ended"]:
            self.failures.append(f"{log}: {header['forked']} forked, {header['ended']} ended, at an orderly end")
        if header["phase"] != layout.STOPPED:
            self.failures.append(f"{log}: its phase is not `stopped`")

    def _add_killed(self, board: Snapshot, may_pass: bool) -> None:
        """The parent was killed. Who served at that moment is in the table for ever."""
        self.left += len(board.children)
        self.interrupted += len(board.children)
        certain = [x for x in board.children if not x["waiting"] and x["connections"] and x["outcome"] == layout.NONE]
        self.unknown += len(board.children) - len(certain) + (PASSING if may_pass else 0)
        self.interrupted += PASSING if may_pass else 0

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
                self.interrupted += int(fields["busy"])
        return recorded

    def _read_end(self, sentence: str, fields: dict[str, str]) -> None:
        self.outcomes[fields["outcome"]] += 1
        self._recorded_cut += fields["outcome"] == "cut" and " was cut " in sentence
        if fields["exit"] == "0":
            return
        # Killed while it served: counted. Else it may have accepted another one. (A child that is cut takes no more.)
        if fields["connections"] == "0" or fields["outcome"] not in ("", "cut"):
            self.unknown += 1
        if " ended by " in sentence or " ended with " in sentence:
            self.abnormal.append(int(fields["child_pid"]))
