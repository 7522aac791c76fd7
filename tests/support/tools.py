"""Commands that a test needs. Without them the test is skipped; in CI, which has all of them, it fails."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

PACKAGES = {
    "ip": "iproute2",
    "nsenter": "util-linux",
    "pkgconf": "pkgconf",
    "dh": "debhelper",
    "dh_python3": "dh-python",
    "dpkg-buildpackage": "dpkg-dev",
    "s6-supervise": "s6",
    "stunnel": "stunnel4",
    "systemd-analyze": "systemd",
    "systemd-socket-activate": "systemd",
    "unshare": "util-linux",
}
"""The Debian package of each command with another name than its package."""


def missing(reason: str) -> NoReturn:
    """Skip the test, since it cannot run here; in CI it fails."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def path_of(tool: str, packages: str = "") -> str:
    """The path of a command that the test needs; `packages`: those that contain it, else as PACKAGES says."""
    return shutil.which(tool) or missing(f"no {tool}: apt-get install {packages or PACKAGES.get(tool, tool)}")


def need(*tools: str) -> None:
    """Skip the test unless these commands exist."""
    for tool in tools:
        path_of(tool)
