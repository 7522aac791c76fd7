"""The units as systemd reads them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEWER = "Failed to parse boolean value, ignoring: identity"
"""What systemd before 257 says of PrivateUsers=identity."""


def test_units_are_valid(tmp_path: Path) -> None:
    """systemd-analyze verify has no complaint about the units but for the one value that is newer than it."""
    if shutil.which("systemd-analyze") is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no systemd-analyze: apt-get install systemd")
    for name in ("upperd.service", "upperd.socket"):
        text = (ROOT / "systemd" / name).read_text().replace("@BINDIR@/upperd", "/bin/true")
        (tmp_path / name).write_text(text)
    units = [str(tmp_path / "upperd.service"), str(tmp_path / "upperd.socket")]
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "upperd" in line]
    assert [line for line in complaints if NEWER not in line] == []
