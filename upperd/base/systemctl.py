"""Asks the service manager for properties of its units (systemctl(1), show)."""

from __future__ import annotations

import subprocess


def show(words: list[str], names: tuple[str, ...], seconds: float) -> list[dict[str, str]]:
    """The properties `names` of each unit that `words` select. Several values of a property are joined by newlines.

    Empty if there is no systemctl, or it has not answered within `seconds`.
    """
    command = ["systemctl", "show", "--no-pager", f"--property={','.join(names)}", *words]
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=seconds)
    except (OSError, subprocess.TimeoutExpired):
        return []
    units = []
    for block in done.stdout.decode("utf-8", "replace").split("\n\n"):
        properties: dict[str, str] = {}
        for line in block.strip("\n").split("\n"):
            name, _, value = line.partition("=")
            properties[name] = f"{properties[name]}\n{value}" if name in properties else value
        units.append(properties)
    return units
