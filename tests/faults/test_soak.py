"""The soak test of bench/soak: its ledger adds up, and it fails if a connection is missing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from users import needs_root

BENCH = Path(__file__).parents[2] / "bench"


def _soak(folder: Path, *options: str) -> tuple[int, str]:
    """Run a soak to its end; return its exit status, and what it printed."""
    command = [sys.executable, "-m", "soak", *options]
    environ = {**os.environ, "PYTHONPATH": str(BENCH), "TMPDIR": str(folder)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=170)
    return done.returncode, done.stdout + done.stderr


def _figure(ledger: str, name: str) -> int:
    found = re.search(rf"(?m)^ +{re.escape(name)} +(-?\d+)", ledger)
    assert found is not None, ledger
    return int(found[1])


def test_everything_is_accounted_for(folder: Path) -> None:
    """Under mixed load, reloads, restarts and kills, no connection is lost, hung, or answered wrongly."""
    needs_root(folder)
    status, ledger = _soak(folder, "--seconds", "20", "--seed", "4")  # each kind of trouble comes soon
    assert status == 0, ledger
    assert _figure(ledger, "answered whole") > 0
    assert _figure(ledger, "children crashed") > 0
    troubles = ("kill_parent", "kill_draining_parent", "restart_in_order", "reload", "reload_broken", "sigkill_child")
    assert [trouble for trouble in troubles if not re.search(rf"\d {trouble}\b", ledger)] == [], ledger


def test_hidden_connections_are_found(folder: Path) -> None:
    """The soak finds three connections missing from its ledger: without kills the ledger is exact."""
    needs_root(folder)
    status, ledger = _soak(folder, "--seconds", "1", "--seed", "1", "--no-kills", "--hide", "3")
    assert status == 1
    assert _figure(ledger, "unknown at a kill") == -3
    assert "UNACCOUNTED FOR: " in ledger
    assert ": -3 unaccounted for, " in ledger
