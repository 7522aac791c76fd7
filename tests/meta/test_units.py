"""The units as systemd reads them."""

import os
import re
import resource
import shutil
import subprocess
from pathlib import Path

import pytest
from tools import missing

from upperd.server.limits import Limits
from upperd.service.options import Options

ROOT = Path(__file__).parents[2]
KIB_A_CHILD = 600
"""More than bench/faults.py measures for a held connection."""
NEWER = "Failed to parse boolean value, ignoring: identity"
"""The complaint of systemd before 257 about PrivateUsers=identity."""


UNITS = (
    *("upperd.service", "upperd.socket", "upperd-tcp.socket", "upperd@.service", "upperd@.socket"),
    *("user/upperd.service", "user/upperd.socket"),
)


@pytest.mark.parametrize("manager", ["system", "user"])
def test_units_are_valid(tmp_path: Path, manager: str) -> None:
    """systemd-analyze verify complains only about the one value that is newer than itself."""
    if shutil.which("systemd-analyze") is None:
        missing("no systemd-analyze: apt-get install systemd")
    for name in UNITS:
        if name.startswith("user/") == (manager == "user"):
            text = (ROOT / "systemd" / name).read_text().replace("@BINDIR@/upperd", "/bin/true")
            text = text.replace("@EXECPATHS@", "/bin")
            (tmp_path / Path(name).name).write_text(text)
    units = sorted(str(path) for path in tmp_path.iterdir())
    environ = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    command = ["systemd-analyze", "verify", f"--{manager}", "--man=no", *units]
    done = subprocess.run(command, capture_output=True, text=True, env=environ)
    complaints = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "upperd" in line]
    assert [line for line in complaints if NEWER not in line] == []


def _value(name: str, unit: str) -> str:
    found = re.findall(rf"^{name}=(\S+)$", (ROOT / "systemd" / unit).read_text(), re.MULTILINE)
    assert len(found) == 1
    return str(found[0])


@pytest.mark.parametrize("unit", ["upperd.service", "user/upperd.service"])
def test_limits_follow_from_max_children(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unit allows the children and the waiting connections of the defaults: processes, descriptors."""
    most = Options().max_children
    assert int(_value("TasksMax", unit)) >= most + 2  # the parent, and the check of a reload
    monkeypatch.setattr(resource, "getrlimit", lambda _: (int(_value("LimitNOFILE", unit)),) * 2)
    assert Limits(most, 0, most, Options().max_queue).queue_room == Options().max_queue


def test_memory_limit_follows_from_max_children() -> None:
    """The unit allows the memory of as many busy children as the default, with full buffers, and half as much again."""
    most = Options().max_children
    buffers = 2 * 208  # KiB: net.core.wmem_default, at either end of a connection
    needed = most * (KIB_A_CHILD + buffers) / 1024
    assert int(_value("MemoryMax", "upperd.service").removesuffix("M")) >= 1.5 * needed


NAMES = {
    "--name upperd@%i ": "",
    "upperd@%i.socket": "upperd.socket",
    "/%i.toml": "/upperd.toml",
    "upperd-%i": "upperd",
    " (%i)": "",
    " of %i": "",
}
"""The template's name for an instance, and the name in the unit of the single daemon."""


@pytest.mark.parametrize("kind", ["service", "socket"])
def test_template_differs_in_names_only(kind: str) -> None:
    """An instance of the template has the limits and the sandbox of upperd.service, and all else, except its names."""

    def settings(name: str) -> list[str]:
        lines = (ROOT / "systemd" / name).read_text().splitlines()
        return [line for line in lines if line and not line.startswith("#")]

    template = "\n".join(settings(f"upperd@.{kind}"))
    for there, here in NAMES.items():
        template = template.replace(there, here)
    assert template.splitlines() == settings(f"upperd.{kind}")
