"""The targets: figures that must be reached, figures that we aim for, and the verdict on each."""

from __future__ import annotations

from dataclasses import dataclass

from figures import CASES, FIGURES, Findings, Spread, spread
from filters import FILTERS
from peers import OURS, PEERS


@dataclass(frozen=True)
class Target:
    """A bound on a contender's figure, or on its ratio to the figure of the best of `others` in the same round.

    It is a lower bound if more is better, else an upper bound. `noise` names a bound, "must" or "wish", that need only
    hold within the noise: the better quartile of the rounds is compared instead of the median.
    """

    case: str
    figure: str
    contender: str
    others: tuple[str, ...] = ()
    must: float | None = None
    wish: float | None = None
    noise: str = ""


OTHERS = tuple(peer.name for peer in PEERS if not peer.name.startswith(OURS))
TOOLS = tuple(FILTERS)
UVLOOP = ("uvloop", "uvloop-protocol")

TARGETS = [
    # Children are reused, for the same user only.
    Target("connections-1", "rate", "upperd", ("tutorial",), 11.0, 16.0),
    Target("connections-8", "rate", "upperd", ("tutorial",), 12.0, 20.0),
    Target("connections-32", "rate", "upperd", ("tutorial",), 12.0, 20.0),
    *(Target(f"users-{users}-{clients}", "shared", "upperd", (), 0.8, 0.95) for users in (4, 50) for clients in (1, 8)),
    # More users than children.
    *(Target(f"users-200-{clients}", "rate", "upperd", ("tutorial",), 1.0, noise="must") for clients in (1, 8)),
    # A handler as users commonly write it.
    Target("handler-8", "rate", "upperd-handler", ("stream-fork",), 10.0),
    Target("handler-8", "rate", "upperd-handler", ("stream-thread",), 2.0),
    # A process for each connection.
    Target("connections-1", "rate", "upperd-single", ("tutorial",), 1.3, 2.2),
    Target("connections-8", "rate", "upperd-single", ("tutorial",), 1.0, 1.6),
    # The library must be as fast as the daemon.
    *(
        Target(f"connections-{clients}", "rate", f"mixin{kind}", (f"upperd{kind}",), 1.0, noise="must")
        for kind in ("", "-single")
        for clients in (1, 8, 32)
    ),
    Target("pingpong", "rate", "upperd", OTHERS, 1.0, noise="must"),
    Target("bulk-ascii", "throughput", "upperd", ("tutorial",), 6.0),
    Target("bulk-ascii", "throughput", "upperd", ("s6",), 1.5),
    Target("bulk-ascii", "throughput", "upperd", UVLOOP, 1.5),
    Target("bulk-ascii", "throughput", "upperd", ("c-fork",), wish=0.5),
    Target("bulk-french", "throughput", "upperd", TOOLS, 2.0, 4.0),
    Target("bulk-cyrillic", "throughput", "upperd", TOOLS, 2.0),
    Target("bulk-greek", "throughput", "upperd", TOOLS, 2.0),
    Target("bulk-mixed", "throughput", "upperd", TOOLS, 2.0),
    Target("memory", "memory", "upperd", must=600.0, wish=350.0),
    # The tolerance above 1 is for noise.
    Target("held", "growth", "upperd", must=1.2, wish=1.1),
    Target("send", "time", "upperctl", ("python",), 1.3),
    Target("send", "time", "upperctl", ("socat",), wish=1.0, noise="wish"),
    Target("start", "time", "upperd", ("python",), 4.0, 2.5),
    # The defaults are fair to every user.
    *(
        Target(case, figure, "upperd-datagrams" if "datagrams" in case else "upperd-default", must=must)
        for case in CASES
        if case.startswith("attack-")
        for figure, must in (("wait", 50.0), ("longest", 500.0), ("refused", 0.0))
    ),
]


@dataclass(frozen=True)
class Verdict:
    """The finding for a target; `spread` is None if the target was not measured."""

    target: Target
    other: str
    """The one of the target's `others` that was hardest to beat."""
    spread: Spread | None

    def keeps(self, kind: str) -> str:
        """Whether the bound `kind` ("must" or "wish") is kept, in words; empty if there is no such bound."""
        bound = self.target.must if kind == "must" else self.target.wish
        if bound is None:
            return ""
        if self.spread is None:
            return "not measured"
        return "reached" if self._is_within(bound, self.target.noise == kind) else "not reached"

    def _is_within(self, bound: float, is_noise_allowed: bool) -> bool:
        assert self.spread is not None
        if FIGURES[self.target.figure].is_more_better:
            return (self.spread.three_quarters if is_noise_allowed else self.spread.median) >= bound
        return (self.spread.quarter if is_noise_allowed else self.spread.median) <= bound


def judge(target: Target, findings: Findings) -> Verdict:
    """Compare a target with the findings."""
    if not target.others:
        values = findings.values(target.case, target.contender, target.figure).values()
        return Verdict(target, "", spread(list(values)))
    spreads = {}
    for other in target.others:
        found = spread(findings.ratios(target.case, target.contender, other, target.figure))
        if found is not None:
            spreads[other] = found
    if not spreads:
        return Verdict(target, "", None)
    hardest = min if FIGURES[target.figure].is_more_better else max
    other = hardest(spreads, key=lambda name: spreads[name].median)
    return Verdict(target, other, spreads[other])
