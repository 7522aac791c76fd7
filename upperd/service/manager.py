"""Reads what the service manager passes in the environment (sd_listen_fds(3), sd_watchdog_enabled(3)).

Only the launcher uses this. It removes the variables and passes their values on as settings (settings.py), so neither
the parent nor a child has them in its environment. Messages to the manager are in notify.py.
"""

from __future__ import annotations

from upperd.service.options import OptionError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

FIRST_DESCRIPTOR = 3
"""SD_LISTEN_FDS_START."""
_MOST_DESCRIPTORS = 1024
"""More than any manager passes; a number above it is a mistake."""


class ManagerError(OptionError):
    """A variable or descriptor from the manager is wrong. The text names it."""

    status = 78


def take_environment(environ: MutableMapping[str, str], pid: int) -> dict[str, Any]:
    """Take the manager's variables out of `environ` and return them as settings. Raises ManagerError."""
    said: dict[str, Any] = {"notify_socket": environ.pop("NOTIFY_SOCKET", "")}
    said["watchdog_usec"] = _take_watchdog(environ, pid)
    names = environ.pop("LISTEN_FDNAMES", "")
    listen_pid, listen_fds = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_PIDFDID", None)
    if not listen_fds and not listen_pid:
        return said
    if not listen_pid:
        why = f"LISTEN_FDS={listen_fds} without LISTEN_PID"
        cure = "the manager must set LISTEN_PID to the pid of this process"
    elif _number("LISTEN_PID", listen_pid) != pid:
        why = f"LISTEN_PID={listen_pid} is not this process ({pid})"
        cure = "a wrapper between the manager and upperd must exec it, not fork"
    else:
        why = cure = ""
    if why:
        said["warning"] = f"{why}, so the sockets that were passed are ignored: {cure}"
        return said
    count = _number("LISTEN_FDS", listen_fds)
    if count > _MOST_DESCRIPTORS:
        raise ManagerError(f"LISTEN_FDS={listen_fds} is more than {_MOST_DESCRIPTORS}")
    named = [*(names.split(":") if names else []), *["unknown"] * count][:count]
    said["listeners"] = ":".join(f"{FIRST_DESCRIPTOR + index}={name}" for index, name in enumerate(named))
    return said


def _take_watchdog(environ: MutableMapping[str, str], pid: int) -> int:
    usec, watched = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
    if not usec or (watched and _number("WATCHDOG_PID", watched) != pid):
        return 0
    return _number("WATCHDOG_USEC", usec)


def _number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise ManagerError(f"{name}={value!r} is not a number")
    return int(value)
