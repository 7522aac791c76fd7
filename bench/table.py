"""Renders the findings as Markdown: the targets first, then a table for each case."""

from __future__ import annotations

from figures import CASES, FIGURES, Findings, Spread, spread
from targets import TARGETS, Verdict, judge

BASELINES = {"send": "python", "start": "python", "held": ""}
"""By case: the baseline of the comparison. The default is the tutorial's server, or perl for texts; empty: none."""


def baseline(case: str, contenders: list[str]) -> str:
    """The contender that the others are compared with; empty if there is none."""
    wanted = BASELINES.get(case, "perl" if case.startswith("bulk-") and "perl" in contenders else "tutorial")
    return wanted if wanted in contenders else ""


def render(findings: Findings, is_brief: bool = False) -> str:
    """The whole document. `is_brief`: omit targets that were not measured."""
    parts = ["# What was measured\n", _machine(findings), _targets(findings, is_brief)]
    parts += [_case(case, findings) for case in findings.cases()]
    parts += [_absent(findings)]
    return "\n".join(part for part in parts if part)


def number(value: float) -> str:
    """The value with three significant digits, or rounded to an integer from 100 on."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _between(found: Spread) -> str:
    return f"{number(found.median)} ({number(found.low)}..{number(found.high)})"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _machine(findings: Findings) -> str:
    lines = "".join(f"- {name}: {value}\n" for name, value in findings.machine.items())
    how = (
        "\nMedians of the rounds, and in brackets the lowest and the highest. A ratio is that of two in the same round;"
        " shown is the median of the ratios. Every reply was compared with what it must be.\n"
    )
    return lines + how


def _targets(findings: Findings, is_brief: bool) -> str:
    header = ["work", "figure", "contender", "against", "found", "must", "", "reach for", ""]
    text = "## Targets\n\n" + _row(header) + _row(["---"] * len(header))
    verdicts = [judge(target, findings) for target in TARGETS]
    return text + "".join(_row(_target_cells(each)) for each in verdicts if each.spread or not is_brief)


def _target_cells(verdict: Verdict) -> list[str]:
    target = verdict.target
    figure = FIGURES[target.figure]
    sign = ">=" if figure.is_more_better else "<="
    unit = "x" if target.others else figure.unit

    def bound(value: float | None, kind: str) -> str:
        noise = ", within noise" if target.noise == kind else ""
        return "" if value is None else f"{sign} {value:g} {unit}{noise}".rstrip()

    return [
        CASES[target.case][0],
        figure.title,
        target.contender,
        verdict.other or (", ".join(target.others) if len(target.others) < 5 else "any other"),
        f"{_between(verdict.spread)} {unit}".rstrip() if verdict.spread else "-",
        bound(target.must, "must"),
        verdict.keeps("must"),
        bound(target.wish, "wish"),
        verdict.keeps("wish"),
    ]


def _case(case: str, findings: Findings) -> str:
    title, main = CASES[case]
    contenders = sort_contenders(case, findings)
    against = baseline(case, contenders)
    others = [
        name
        for name in FIGURES
        if name != main and any(findings.values(case, contender, name) for contender in contenders)
    ]
    header = ["", _heading(main), *([f"x {against}"] if against else []), *map(_heading, others)]
    text = f"## {title}\n\n" + _row(header) + _row(["---"] * len(header))
    for contender in contenders:
        cells = [contender]
        for name in (main, "ratio" if against else "", *others):
            if name == "ratio":
                found = spread(findings.ratios(case, contender, against, main))
            else:
                found = spread(list(findings.values(case, contender, name).values()))
            if name:
                cells.append(_between(found) if found else "-")
        text += _row(cells)
    return text


def sort_contenders(case: str, findings: Findings) -> list[str]:
    """The contenders of a case, the best first."""
    main = CASES[case][1]

    def median(contender: str) -> float:
        found = spread(list(findings.values(case, contender, main).values()))
        return found.median if found else 0.0

    return sorted(findings.contenders(case), key=median, reverse=FIGURES[main].is_more_better)


def _heading(name: str) -> str:
    figure = FIGURES[name]
    return f"{figure.title}, {figure.unit}" if figure.unit else figure.title


def _absent(findings: Findings) -> str:
    lines = [f"- missing: {name} ({reason})\n" for name, reason in findings.missing.items()]
    for what, reasons in findings.failures.items():
        lines.append(f"- failed: {what}, {len(reasons)} times: {reasons[0]}\n")
    return "## Not measured\n\n" + "".join(lines) if lines else ""

