"""Asks systemd about the service behind a socket: whether it runs, and if not, why (systemctl(1), show)."""

from __future__ import annotations

import os
import shutil

from upperd.base import paths, systemctl
from upperd.base.text import plural

_SECONDS = 5
"""How long to wait for a busy service manager."""
_KNOWN = ("Id", "LoadState", "ActiveState", "SubState", "Result", "MainPID", "StatusText", "NRestarts")
_EXITED = ("ExecMainCode", "ExecMainStatus")
_BY_EXIT = "1"
"""ExecMainCode of a process that has exited, rather than been killed (waitid(2), CLD_EXITED)."""


class Unit:
    """The state of a service at one moment."""

    def __init__(self, properties: dict[str, str]) -> None:
        self.name = properties.get("Id", "?")
        self.is_active = properties.get("ActiveState") in ("active", "reloading", "deactivating")
        self.state = f"{properties.get('ActiveState', '?')} ({properties.get('SubState', '?')})"
        self.main_pid = _number(properties.get("MainPID"))
        self.restarts = _number(properties.get("NRestarts"))
        self.status = properties.get("StatusText", "")
        self.result = properties.get("Result", "success")
        if properties.get("ExecMainCode") == _BY_EXIT and self.result == "exit-code":
            self.result = f"exit status {properties.get('ExecMainStatus')}"

    @property
    def trouble(self) -> str:
        """Why the service does not run; empty if it runs or was stopped."""
        is_tried_again = self.restarts > 0 and self.state.startswith("activating ")  # waiting for the next restart
        if self.is_active or (self.result == "success" and not is_tried_again):
            return ""
        again = f" again and again ({plural(self.restarts, 'restart')})" if self.restarts else ""
        result = f", {self.result}" if self.result != "success" else ""
        status = f": {self.status}" if self.status else ""
        return f"{self.name} fails{again}{result}{status}"


def of_socket(socket: str) -> Unit | None:
    """The service on this socket; None if there is none, or no service manager."""
    if not os.path.isdir("/run/systemd/system") or shutil.which("systemctl") is None:
        return None
    managers = [[]] if os.geteuid() == 0 or "XDG_RUNTIME_DIR" not in os.environ else [["--user"], list[str]()]
    for options in managers:
        name = _triggered_by(socket, options) or _by_default(socket)
        found = systemctl.show([*options, name], (*_KNOWN, *_EXITED), _SECONDS) if name else []
        if found and found[0].get("LoadState") == "loaded":
            return Unit(found[0])
    return None


def _triggered_by(socket: str, options: list[str]) -> str:
    """The service of the socket unit that listens on this socket; empty if there is none."""
    for unit in systemctl.show([*options, "*.socket"], ("Listen", "Triggers"), _SECONDS):
        if any(line.rpartition(" (")[0] == socket for line in unit.get("Listen", "").split("\n")):
            return unit.get("Triggers", "").split(" ")[0]
    return ""


def _by_default(socket: str) -> str:
    """The service that has this socket as its default path; empty if none has."""
    name = paths.name_of(socket)
    return f"{name}.service" if socket in paths.client_sockets(dict(os.environ), os.geteuid(), name) else ""


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0
