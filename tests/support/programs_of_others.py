"""Our programs for users who may not read the folder of the tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import sdnotify

PYTHON = "/usr/bin/python3"
"""A Python that all users may execute."""
_PACKAGE = Path(__file__).parents[2] / "upperd"


def for_everybody(folder: Path) -> dict[str, str]:
    """Copy the package and its dependencies into `folder`; return the environment in which PYTHON finds them."""
    shutil.copytree(_PACKAGE, folder / "lib/upperd", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(Path(str(sdnotify.__file__)).parent, folder / "lib/sdnotify")
    return {"PYTHONPATH": str(folder / "lib")}
