"""Our programs for users who may not look into the folder of the tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import sdnotify

PYTHON = "/usr/bin/python3"
"""One that everybody may execute."""
_PACKAGE = Path(__file__).parents[2] / "upperd"


def for_everybody(folder: Path) -> dict[str, str]:
    """Copy the package, and what it needs, into `folder`; returns the environment by which PYTHON finds them."""
    shutil.copytree(_PACKAGE, folder / "lib/upperd", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(Path(str(sdnotify.__file__)).parent, folder / "lib/sdnotify")
    return {"PYTHONPATH": str(folder / "lib")}
