"""What a test needs of the host. Where it is missing the test is skipped; in CI, where all is installed, it fails."""

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
"""Of Debian, by the command, where they do not have its name."""


def missing(reason: str) -> NoReturn:
    """The test cannot be done here."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


def path_of(tool: str, packages: str = "") -> str:
    """The path of a command that the test cannot do without; `packages`: what has it, else as PACKAGES says."""
    return shutil.which(tool) or missing(f"no {tool}: apt-get install {packages or PACKAGES.get(tool, tool)}")


def need(*tools: str) -> None:
    """The test cannot be done without these commands."""
    for tool in tools:
        path_of(tool)
