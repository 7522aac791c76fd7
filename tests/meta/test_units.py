"""The units as systemd reads them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEWER = ("Unknown key", "ignoring: identity")
"""What systemd 252 says of PrivateUsers=identity, and of keys that only its successors know."""


def test_units_are_valid(tmp_path: Path) -> None:
    """systemd-analyze verify has no complaint about the units but for keys that are newer than it."""
    if shutil.which("systemd-analyze") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no systemd-analyze: apt-get install systemd")
    for name in ("upperd.service", "upperd.socket"):
        text = (ROOT / "systemd" / name).read_text().replace("@BINDIR@/upperd", "/bin/true")
        (tmp_path / name).write_text(text)
    units = [str(tmp_path / "upperd.service"), str(tmp_path / "upperd.socket")]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "upperd" in line]
    assert [line for line in complaints if not any(mark in line for mark in NEWER)] == []
