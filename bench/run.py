"""`make bench`: runs every contender in rounds, each started afresh, in shuffled order; see README.md."""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import work
from build import BUILT, HERE, BuildError, build
from client import WrongReplyError
from figures import Findings, Record
from peers import EXTRA, OURS, Peer, Place
from plot import write_plots
from server import PeerError, adopt_orphans, raise_file_limit
from table import render

EX_FAILED = 1
EX_WRONG = 3
EX_USAGE = 64
EX_INTERRUPTED = 130
RESULTS = HERE / "results"
TRIAL_RESULTS = BUILT / "results"
QUICK_WORKS = "connections"
QUICK_PEERS = "upperd,upperd-single,mixin,mixin-single,tutorial"
"""The default works and peers of a quick run."""


def main() -> int:
    """Run the benchmark. Exit status 0: it ran, 1: upperd failed, 3: a reply was wrong, 64: wrong usage."""
    # At SIGTERM, end the processes that we have started as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(_parse())
    except KeyboardInterrupt:
        return EX_INTERRUPTED
    except (BuildError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return EX_FAILED
    except WrongReplyError as error:
        print(f"bench: {error}: nothing was written", file=sys.stderr)
        return EX_WRONG


def _run(options: argparse.Namespace) -> int:
    names = _choose(options.works, [each.name for each in work.WORKS])
    if options.own:
        _add_own(options.own)
    chosen = _choose(options.peers, list(work.SERVERS))
    if options.smoke and not options.peers:
        chosen = [name for name in chosen if not work.SERVERS[name].is_slow]
    EXTRA.extend(shlex.split(options.upperd))
    raise_file_limit()
    adopt_orphans()
    build()
    findings = Findings(machine=describe_machine())
    works = [each for each in work.WORKS if each.name in names]
    folder = options.results or (TRIAL_RESULTS if options.quick or options.smoke else RESULTS)
    # Fail now rather than after the run if the folder cannot be made.
    folder.mkdir(parents=True, exist_ok=True)
    _run_rounds(works, chosen, options, findings)
    findings.machine["load at the end"] = _load_average()
    write_results(findings, folder)
    print(render(findings, is_brief=options.quick))
    print(f"Written to {folder}.", file=sys.stderr)
    ours = [what for what in findings.failures if what.partition(" of ")[2].startswith(OURS)]
    return EX_FAILED if ours else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description="Compare upperd with its peers.")
    parser.add_argument("--rounds", type=int, default=0, help="of all contenders (default 5; smoke: 1)")
    parser.add_argument("--works", default="", help="names of works, with commas (default: all)")
    parser.add_argument("--peers", default="", help="names of servers, with commas (default: all)")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--quick", action="store_true", help="connections of ours and of the tutorial, in a minute")
    kinds.add_argument("--smoke", action="store_true", help="see that all of it runs; the figures mean nothing")
    parser.add_argument("--seconds", type=float, default=0, help="of each measurement (default 1)")
    parser.add_argument("--upperd", default="", help="further options of upperd, to try them")
    parser.add_argument("--own", action="append", metavar="NAME=COMMAND", help="one more server; {} is its path")
    parser.add_argument("--results", type=Path, help="where to write (default: results/ beside this program)")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.smoke else 5)
    if options.quick:
        options.works = options.works or QUICK_WORKS
        options.peers = options.peers or QUICK_PEERS
    return options


def _choose(wanted: str, known: list[str]) -> list[str]:
    """The names in a comma-separated list, or all known names if it is empty. Exits if a name is unknown."""
    names = wanted.split(",") if wanted else known
    for name in names:
        if name not in known:
            raise SystemExit(_usage_error(f"no such name: {name}; there are: {', '.join(known)}"))
    return names


def _usage_error(text: str) -> int:
    print(f"bench: {text}", file=sys.stderr)
    return EX_USAGE


def _add_own(words: list[str]) -> None:
    """Add the servers of --own to every work in which the tutorial's server takes part."""
    for word in words:
        name, _, command = word.partition("=")
        if not name or not command.strip():
            raise SystemExit(_usage_error(f"--own takes NAME=COMMAND, not {word}"))
        own = Peer(name, lambda place, address, command=command: _own_command(command, place, address))  # type: ignore[misc]
        work.SERVERS[name] = own
        work.WORKS[:] = [
            replace(each, contenders=(*each.contenders, name)) if "tutorial" in each.contenders else each
            for each in work.WORKS
        ]


def _own_command(command: str, place: Place, address: str) -> list[str]:
    return [word.replace("{}", address) for word in shlex.split(command)]


def _run_rounds(works: list[work.Work], chosen: list[str], options: argparse.Namespace, findings: Findings) -> None:
    """Run every contender once per round, in a new order each time. Raises WrongReplyError."""
    scale = _scale(options)
    for each in works:
        if each.missing:
            _miss(f"work {each.name}", each.missing, findings)
    works = [each for each in works if not each.missing]
    turns = [
        (each, name) for each in works for name in each.contenders if name in chosen or name not in work.SERVERS
    ]
    for name in dict.fromkeys(name for _, name in turns):
        if reason := work.missing(name):
            _miss(name, reason, findings)
    turns = [(each, name) for each, name in turns if name not in findings.missing]
    for number in range(options.rounds):
        # One work after the other, so that contenders that are compared run close together in time.
        order = random.sample(turns, len(turns))
        order.sort(key=lambda turn: works.index(turn[0]))
        for each, name in order:
            _take_turn(each, name, number, scale, findings)


def _miss(what: str, reason: str, findings: Findings) -> None:
    findings.missing[what] = reason
    print(f"bench: missing: {what} ({reason})", file=sys.stderr)


def _take_turn(each: work.Work, name: str, number: int, scale: work.Scale, findings: Findings) -> None:
    print(f"round {number + 1}: {each.name} of {name}", file=sys.stderr, flush=True)
    try:
        measured = each.measure(name, scale)
    except PeerError as error:
        print(f"bench: failed: {each.name} of {name}: {error}", file=sys.stderr)
        findings.failures.setdefault(f"{each.name} of {name}", []).append(str(error))
    except WrongReplyError as error:
        raise WrongReplyError(f"{each.name} of {name}: {error}") from None
    else:
        findings.records += [Record(number, case, name, figures) for case, figures in measured.items()]


def _scale(options: argparse.Namespace) -> work.Scale:
    scale = work.SMOKE if options.smoke else work.QUICK if options.quick else work.FULL
    if options.seconds:
        scale = replace(scale, seconds=options.seconds)
    return scale


def describe_machine() -> dict[str, str]:
    """The machine and the versions for which the figures hold."""
    models = [line.partition(":")[2].strip() for line in _read("/proc/cpuinfo").splitlines() if "model name" in line]
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "revision": _revision(),
        "processors": f"{os.cpu_count()} of {models[0] if models else platform.machine()}",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "user": "root" if os.geteuid() == 0 else "not root",
        "load at the start": _load_average(),
    }


def _revision() -> str:
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def _load_average() -> str:
    return " ".join(_read("/proc/loadavg").split()[:3])


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def write_results(findings: Findings, folder: Path) -> None:
    """Write all findings (results.json), the tables (table.md) and the plots."""
    (folder / "results.json").write_text(json.dumps(asdict(findings), indent=1) + "\n")
    (folder / "table.md").write_text(render(findings))
    write_plots(findings, folder)


if __name__ == "__main__":
    sys.exit(main())
