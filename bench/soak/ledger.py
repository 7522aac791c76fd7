"""The ledger: compares what the clients have seen with what the daemons report. Everything must add up.

Equations must hold exactly. Only connections that a killed parent had accepted and no child had begun to serve are
counted nowhere. The line `unknown at a kill` shows their number and its upper bound.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from soak.account import Account
from soak.exchange import CLOSED, CUT, ENDED, ENDED_BY_DAEMON, HUNG, LEFT, NOTHING, OUTCOMES, SHORT, TORN, WHOLE

LIMITS = ("ended_idle", "ended_lifetime", "ended_bytes", "ended_access")
REASONS = ("refused_access", "refused_user", "refused_rate")


@dataclass
class Ledger:
    """The sums of both sides, and the problems found."""

    sights: dict[str, dict[str, Any]]
    """By role: the results of its clients (crowd.Sight)."""
    account: Account
    queued: int
    """Connections that no daemon has accepted by the end."""
    killed: set[int]
    """The pids of children that the soak test has killed."""
    is_root: bool
    """Whether the roles are different users."""
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        for sight in self.sights.values():
            self.outcomes.update(sight.get("outcomes", {}))
        self.offered = self._sum("offered")
        columns = self.account.columns
        self.counted = columns["connections"] + columns["refused"] + columns["lost"] + self.account.dropped
        self.unknown = self.offered - self.queued - self.counted
        self.ended_by_daemon = sum(self.outcomes[outcome] for outcome in ENDED_BY_DAEMON)
        limits, ends = sum(columns[name] for name in LIMITS), columns["crashed"] + columns["overdue"]
        self.causes_of_cuts = limits + ends + self.account.interrupted + self.account.unknown
        self.causes = columns["refused"] + columns["lost"] + self.account.dropped + self.causes_of_cuts
        # Data sent before the client's end of file is answered even if a drain or a rule ends the connection.
        self.causes_of_torn = ends + columns["killed"] + self.account.cut_short
        self.causes_of_short = limits - columns["ended_access"] + self.causes_of_torn
        self._check()

    def _sum(self, name: str) -> int:
        return sum(int(sight.get(name, 0)) for sight in self.sights.values())

    def _require(self, holds: bool, text: str) -> None:
        if not holds:
            self.problems.append(text)

    # The conditions

    def _check(self) -> None:
        self._check_connections()
        self._check_reasons()
        self._check_ends()
        for role, sight in self.sights.items():
            self.problems += [f"{role}: {failure}" for failure in sight.get("failures", ())]
        self.problems += self.account.failures
        wrong = self._sum("wrong")
        self._require(not wrong, f"{wrong} wrong answers")
        self._require(not self.outcomes[HUNG], f"{self.outcomes[HUNG]} clients hung")

    def _check_connections(self) -> None:
        columns, most = self.account.columns, self.account.unknown
        over = sum(self.outcomes.values()) + self._sum("wrong")
        self._require(over == self.offered, f"{self.offered} connections were offered, {over} have an outcome")
        self._require(
            0 <= self.unknown <= most,
            f"{self.offered} connections were offered, {self.queued} queued, {self.counted} counted by the daemons: "
            f"{self.unknown} unaccounted for, where 0 to {most} may be",
        )
        sent, bytes_in = self._sum("sent"), columns["bytes_in"]
        self._require(bytes_in <= sent, f"{bytes_in} bytes came in, only {sent} were sent")
        for name, orderly in self.account.orderly.items():
            recorded = self.account.records[name]
            self._require(orderly == recorded, f"{recorded} {name} in the logs of orderly daemons, {orderly} counted")
        self._require(columns["lost"] == 0, f"{columns['lost']} connections that no child began to serve")
        self._require(columns["records_lost"] == 0, f"{columns['records_lost']} log entries lost")
        self._require(columns["fork_failures"] == 0, f"{columns['fork_failures']} forks failed")

    def _check_reasons(self) -> None:
        columns = self.account.columns
        by_reason = sum(columns[name] for name in REASONS)
        # The total and its part are two writes, and the parent may be killed between them.
        apart = abs(columns["refused"] - by_reason)
        self._require(apart <= self.account.parents_killed, f"{columns['refused']} refused, {by_reason} by a reason")
        unanswered = self.outcomes[CLOSED] + self.outcomes[LEFT] + self.outcomes[NOTHING]
        self._require(columns["refused"] <= unanswered, f"{columns['refused']} refused, {unanswered} had no answer")
        if not self.is_root:
            return
        denied = self.sights.get("denied", {}).get("outcomes", {})
        answered = {outcome: denied[outcome] for outcome in (WHOLE, ENDED, TORN, SHORT, CUT) if denied.get(outcome)}
        self._require(not answered, f"a denied user had answers: {answered}")
        others = sum(int(self.sights.get(role, {}).get("offered", 0)) for role in ("denied", "doubtful"))
        refused = columns["refused_access"]
        self._require(
            sum(denied.values()) - self.account.unknown <= refused <= others,
            f"{refused} refused by their user, {sum(denied.values())} to {others} offered by those users",
        )

    def _check_ends(self) -> None:
        columns = self.account.columns
        self._require(
            self.ended_by_daemon <= self.causes,
            f"{self.ended_by_daemon} connections were ended by the daemon, with {self.causes} causes at most",
        )
        outcomes = self.outcomes
        cuts = sum(outcomes[outcome] for outcome in (ENDED, TORN, SHORT, CUT))
        self._require(
            cuts <= self.causes_of_cuts, f"{cuts} connections were ended after an answer, {self.causes_of_cuts} may be"
        )
        torn, short = outcomes[TORN], outcomes[TORN] + outcomes[SHORT]
        self._require(
            torn <= self.causes_of_torn, f"{torn} small answers were short, {self.causes_of_torn} children were killed"
        )
        self._require(
            short <= self.causes_of_short,
            f"{short} answers were short after an end of file, {self.causes_of_short} may be",
        )
        ours = self.account.abnormal
        strangers = sorted({*ours} - self.killed)
        self._require(not strangers, f"children ended abnormally that the soak has not killed: {strangers}")
        self._require(
            len(ours) == columns["crashed"],
            f"{len(ours)} abnormal ends in the log, {columns['crashed']} counted as crashed",
        )
        # A child's slot and the counter are two writes, and the parent may be killed between them.
        apart = abs(columns["forked"] - columns["ended"] - self.account.left)
        self._require(
            apart <= self.account.parents_killed,
            f"{columns['forked']} forked, {columns['ended']} reaped, {self.account.left} left by killed parents",
        )
        polite = self.sights.get("polite", {}).get("outcomes", {})
        hurt = sum(polite.get(outcome, 0) for outcome in (*ENDED_BY_DAEMON, HUNG))
        most = columns["crashed"] + columns["overdue"] + self.account.interrupted + self.account.unknown
        most += self.account.dropped
        if self.is_root:
            most += sum(columns[name] for name in (*REASONS[1:], *LIMITS[:3]))
        self._require(not self.is_root or hurt <= most, f"{hurt} polite clients had no whole answer, {most} may be")

    # Output

    def text(self) -> str:
        """The ledger as text."""
        columns, outcomes = self.account.columns, self.outcomes
        refused = ", ".join(f"{columns[name]} {name.removeprefix('refused_')}" for name in REASONS)
        cuts = sum(outcomes[outcome] for outcome in (ENDED, TORN, SHORT, CUT))
        short = outcomes[TORN] + outcomes[SHORT]
        ended = ", ".join(f"{columns[name]} {name.removeprefix('ended_')}" for name in LIMITS)
        lines = ["clients", _row("offered", self.offered)]
        lines += [_row(f"  {outcome}", outcomes[outcome]) for outcome in OUTCOMES]
        lines += [_row("  with a wrong byte", self._sum("wrong"))]
        lines += [_row("not offered: queue full", self._sum("queue_full"))]
        lines += ["daemons", _row("connections", columns["connections"]), _row("refused", columns["refused"], refused)]
        lines += [
            _row("queued at the end", self.queued),
            _row("dropped at the drain deadline", self.account.dropped),
            _row("lost: begun by no child", columns["lost"]),
            _row("unknown at a kill", self.unknown, f"0 to {self.account.unknown} may be"),
            _row("sum: offered", self.counted + self.queued + self.unknown),
            "ends",
            _row("seen by clients", self.ended_by_daemon, f"causes: {self.causes} at most"),
            _row("  after an answer", cuts, f"causes: {self.causes_of_cuts} at most"),
            _row("  short after an end of file", short, f"causes: {self.causes_of_short} at most"),
            _row("  and small", outcomes[TORN], f"causes: {self.causes_of_torn} at most"),
            _row("at a limit", sum(columns[name] for name in LIMITS), ended),
            _row("children crashed", columns["crashed"], "all killed by the soak"),
            _row("killed as overdue", columns["overdue"]),
            _row("cut at the drain deadline", columns["cut"]),
            _row("killed after it", columns["killed"]),
            _row("killed as stopped", columns["stopped"]),
            _row("left by a killed parent", self.account.left, f"{self.account.cut_short} cut short"),
            "queue",
            _row("waited", columns["waited"]),
            _row("handed over again", columns["handed_again"]),
        ]
        lines += ["children", _row("forked", columns["forked"]), _row("reaped", columns["ended"])]
        lines += ["bytes", _row("sent by clients", self._sum("sent")), _row("read by daemons", columns["bytes_in"])]
        lines += [_row("answered by daemons", columns["bytes_out"]), _row("verified", self._sum("received"))]
        lines += ["logs and scoreboards of daemons that ended in order"]
        for name, orderly in self.account.orderly.items():
            lines.append(_row(name, self.account.records[name], f"{orderly} counted"))
        return "\n".join(lines)


def _row(name: str, count: int, more: str = "") -> str:
    return f"  {name:32}{count:>14}" + (f"   ({more})" if more else "")
