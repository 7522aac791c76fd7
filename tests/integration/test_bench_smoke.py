"""`make bench SMOKE=1`: the benchmark runs, and notices wrong answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import pytest
from tools import missing

ROOT = Path(__file__).parents[2]
LIAR = """
import os, socketserver, sys

class Liar(socketserver.StreamRequestHandler):
    def handle(self):
        text = self.rfile.read()
        self.wfile.write({answer})

class Server(socketserver.ForkingMixIn, socketserver.UnixStreamServer):
    pass

with Server(sys.argv[1], Liar) as server:
    server.serve_forever()
"""
WITNESS = """
import socket, socketserver, struct, sys

class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        credentials = self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        print(struct.unpack("3i", credentials)[1], file=uids, flush=True)
        self.wfile.write(self.rfile.read().upper())

class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    request_queue_size = 100

with open(sys.argv[1], "w") as uids, Server(sys.argv[2], Handler) as server:
    server.serve_forever()
"""


def run_smoke(results: Path, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Make one quick run that writes to `results`."""
    if shutil.which("cc") is None and shutil.which("gcc") is None:
        missing("no C compiler: apt-get install gcc libc6-dev")
    command = [sys.executable, str(ROOT / "bench/run.py"), "--smoke", "--results", str(results), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **environ})


def test_run_is_written(tmp_path: Path) -> None:
    """upperd, its mixin and a peer are measured side by side; the table, the plots and the raw figures are written."""
    if os.geteuid() != 0:
        pytest.skip("measuring the memory of a daemon takes root")
    contenders = ("upperd", "mixin-single", "c-fork")
    done = run_smoke(tmp_path, "--peers", ",".join(contenders), "--works", "connections,pingpong,bulk,memory,faults")
    assert done.returncode == 0, done.stderr
    records = json.loads((tmp_path / "results.json").read_text())["records"]
    cases = ("connections-1", "connections-8", "connections-32", "pingpong", "bulk-ascii", "memory")
    wanted = {(case, contender) for case in cases for contender in contenders}
    wanted |= {("faults", "mixin-single"), ("faults", "c-fork")}
    assert {(record["case"], record["contender"]) for record in records} == wanted
    rates = [record["figures"]["rate"] for record in records if record["case"].startswith("connections")]
    assert len(rates) == 9
    assert min(rates) > 0
    table = (tmp_path / "table.md").read_text()
    assert "## Connections of 64 bytes, 32 clients" in table
    assert "not measured" in table  # the targets against contenders that did not take part
    for name in ("connections", "pingpong", "bulk", "memory", "faults"):
        assert xml.etree.ElementTree.parse(tmp_path / f"{name}.svg").getroot().tag.endswith("svg")


def test_users_take_turns(tmp_path: Path) -> None:
    """Root's clients come as up to 200 users, and the rate is compared with that of one of them."""
    if os.geteuid() != 0:
        pytest.skip("acting as other users takes root")
    server = tmp_path / "witness.py"
    server.write_text(WITNESS)
    uids = tmp_path / "uids"
    own = f"witness={sys.executable} {server} {uids} {{}}"
    done = run_smoke(tmp_path, "--own", own, "--peers", "witness", "--works", "users")
    assert done.returncode == 0, done.stderr
    seen = {int(line) for line in uids.read_text().split()}
    # The first is root's check that the server accepts; how many of 200 get a turn depends on the host.
    assert seen <= {0, *range(60101, 60301)}
    assert len(seen) > 100
    records = json.loads((tmp_path / "results.json").read_text())["records"]
    cases = [f"users-{users}-{clients}" for users in (1, 4, 50, 200) for clients in (1, 8)]
    assert sorted(record["case"] for record in records) == sorted(cases)
    assert min(record["figures"]["shared"] for record in records) > 0


@pytest.mark.parametrize(
    "answer",
    ["text.upper().replace(b'B', b'b')", "text.upper()[:-1]", "text.upper() + b'!'", "b''"],
    ids=["other", "short", "long", "none"],
)
def test_wrong_reply_fails_the_run(tmp_path: Path, answer: str) -> None:
    """A peer whose answer is off by a byte, too short, too long or missing fails the run; nothing is written."""
    liar = tmp_path / "liar.py"
    liar.write_text(LIAR.format(answer=answer))
    results = tmp_path / "results"
    own = f"liar={sys.executable} {liar} {{}}"
    done = run_smoke(results, "--own", own, "--peers", "liar", "--works", "connections")
    assert done.returncode == 3, done.stderr
    assert "connections of liar: wrong reply" in done.stderr
    assert list(results.iterdir()) == []


def test_wrong_bulk_fails_the_run(tmp_path: Path) -> None:
    """One wrong byte in a megabyte fails the run."""
    liar = tmp_path / "liar.py"
    liar.write_text(LIAR.format(answer="text.upper() if len(text) < 500000 else text.upper()[:-5000] + text[-5000:]"))
    own = f"liar={sys.executable} {liar} {{}}"
    done = run_smoke(tmp_path / "results", "--own", own, "--peers", "liar", "--works", "bulk")
    assert done.returncode == 3, done.stderr
    assert "bulk of liar: wrong reply" in done.stderr


def test_missing_peer_is_named(tmp_path: Path) -> None:
    """A peer that is not installed is named with its package, and the others are measured all the same."""
    assert run_smoke(tmp_path, "--peers", "c-fork", "--works", "bulk").returncode == 0  # so that it is built
    done = run_smoke(tmp_path, "--peers", "s6,c-fork", "--works", "bulk", PATH="/nonexistent")
    assert done.returncode == 0, done.stderr
    assert "missing: s6 (no s6-ipcserver: apt-get install s6)" in done.stdout
    assert "| c-fork |" in done.stdout


PROBE = """
from figures import CASES, FIGURES
from targets import TARGETS
from work import WORKS

contenders = {name for each in WORKS for name in each.contenders}
named = {name for target in TARGETS for name in (target.contender, *target.others)}
cases, figures = {target.case for target in TARGETS}, {target.figure for target in TARGETS}
print(named - contenders, cases - set(CASES), figures - set(FIGURES))
"""


def test_targets_name_what_is_measured() -> None:
    """Every target names a contender, a case and a figure that exist."""
    done = subprocess.run([sys.executable, "-c", PROBE], cwd=ROOT / "bench", capture_output=True, text=True)
    assert done.stdout == "set() set() set()\n", done.stderr


JUDGE = """
import sys
from figures import Findings, Record
from targets import Target, judge

ratios = [float(word) for word in sys.argv[1].split()]
records = [Record(n, "start", "upperd", {"time": 8.0 * ratio}) for n, ratio in enumerate(ratios)]
# Of the two others the faster one counts; it is slow in the rounds that are slow for all.
records += [Record(n, "start", "quick", {"time": 8.0}) for n in range(len(ratios))]
records += [Record(n, "start", "slow", {"time": 16.0}) for n in range(len(ratios))]
target = Target("start", "time", "upperd", ("slow", "quick"), must=1.0, wish=1.0, noise="must")
verdict = judge(target, Findings(records))
print(verdict.other, verdict.keeps("must"), verdict.keeps("wish"), sep=", ")
"""


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ("0.9 0.9 0.9 0.9 1.5", "quick, reached, reached"),
        ("0.9 0.9 1.1 1.1 1.1", "quick, reached, not reached"),  # not worse beyond the noise
        ("0.9 1.1 1.1 1.1 1.1", "quick, not reached, not reached"),
        ("", ", not measured, not measured"),
    ],
)
def test_target_is_judged(ratios: str, verdict: str) -> None:
    """A bound applies to the median of the paired ratios to the best other or, within noise, to the better quarter."""
    command = [sys.executable, "-c", JUDGE, ratios]
    done = subprocess.run(command, cwd=ROOT / "bench", capture_output=True, text=True)
    assert done.stdout.strip() == verdict, done.stderr


def test_failing_peer_is_named(tmp_path: Path) -> None:
    """A peer that does not start is named with its reason, and the others are measured all the same."""
    own = f"absent={sys.executable} -c 'raise SystemExit(\"not today\")' {{}}"
    done = run_smoke(tmp_path, "--own", own, "--peers", "absent,c-fork", "--works", "connections")
    assert done.returncode == 0, done.stderr
    assert "failed: connections of absent, 1 times: does not start: not today" in done.stdout
    assert "| c-fork |" in done.stdout
