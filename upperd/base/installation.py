"""Finds out how upperd is installed here, so that messages name the commands that work here."""

from __future__ import annotations

import os
import sys

_UNITS = ("/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
"""Where systemd looks for units (systemd.unit(5))."""


def manual(section: int, page: str) -> str:
    """The command that shows a manual page; by the page's path if it lies in a Python virtual environment."""
    path = f"{sys.prefix}/share/man/man{section}/{page}.{section}"
    is_found = sys.prefix == sys.base_prefix or not os.path.exists(path)
    return f"man {section} {page}" if is_found else f"man {path}"


def command(verb: str, otherwise: str) -> str:
    """The command to start or restart the daemon: systemctl if the unit is installed, else `otherwise`."""
    has_unit = any(os.path.exists(f"{folder}/upperd.service") for folder in _UNITS)
    return f"systemctl {verb} upperd" if has_unit else otherwise
