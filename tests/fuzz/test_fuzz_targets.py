"""The fuzz targets: each finds nothing in a bounded run, and finds what is broken on purpose.

The longer run is `make fuzz`.
"""

import ast
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from tools import missing

HERE = Path(__file__).parent
TARGETS = sorted(path.stem for path in HERE.glob("fuzz_*.py"))
SECONDS = {"fuzz_child": 60}
"""Seconds for a target; 4 for any other."""
BREAKS = {
    "fuzz_transform": "from upperd.upper.transform import UpperCaser as C; C._hold_back = lambda self, rest: rest",
    "fuzz_scoreboard": "from upperd.ctl import summary; summary.printable = str",
    "fuzz_activation": "from upperd.service import manager; manager._number = lambda name, value: int(value)",
    "fuzz_child": "from upperd.server.roster import Child; Child.show = lambda self: None",
    "fuzz_config": "from upperd.service import options; options._shown = repr",
}
"""For each target a change that breaks its invariant."""


@pytest.fixture(autouse=True)
def _atheris() -> None:
    if find_spec("atheris") is None:
        missing("no atheris: `make fuzz` installs it (x86-64 only)")


def run(folder: Path, target: str, change: str = "") -> subprocess.CompletedProcess[str]:
    """Run a target with all its files in `folder`; `change` is executed when the program has been imported."""
    environ = {**os.environ, "PYTHONPATH": str(HERE), "TMPDIR": str(folder)}
    program = f"import {target}\n{change}\n{target}.main()"
    flags = ["-runs=20000", f"-max_total_time={SECONDS.get(target, 4)}", "-seed=1"]
    command = [sys.executable, "-c", program, *flags]
    return subprocess.run(
        command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )


def left(folder: Path) -> list[str]:
    """The kinds of failing inputs that the fuzzer left: crash, timeout, oom, slow-unit."""
    return [path.name.rpartition("-")[0] for path in folder.glob("*/*-*") if path.parent.name != "corpus"]


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_found(tmp_path: Path, target: str) -> None:
    """A target's invariant holds for all that the fuzzer generates in some seconds."""
    done = run(tmp_path, target)
    assert (done.returncode, left(tmp_path)) == (0, []), done.stdout
    assert f": {ast.get_docstring(ast.parse((HERE / f'{target}.py').read_text()))}\n" in done.stdout
    # The fuzzer has run inputs, and seen their coverage.
    assert int(re.findall(r"stat::number_of_executed_units: (\d+)", done.stdout)[0]) > 50
    assert int(re.findall(r"DONE +cov: (\d+)", done.stdout)[0]) > 10


@pytest.mark.parametrize("target", TARGETS)
def test_a_fault_is_found(tmp_path: Path, target: str) -> None:
    """If the program is broken, the fuzzer fails with the traceback and the input that shows it."""
    done = run(tmp_path, target, BREAKS[target])
    assert done.returncode != 0
    assert "Uncaught Python exception" in done.stdout
    assert "invariants.py" in done.stdout
    assert left(tmp_path) == ["crash"]
