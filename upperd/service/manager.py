"""What the service manager says to who starts: sd_listen_fds(3) and sd_watchdog_enabled(3), by the environment.

For the launcher, which hands it over as settings: neither the parent nor a child finds any of it in its environment.
What we say to the manager is in notify.py.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping

FIRST_DESCRIPTOR = 3
"""SD_LISTEN_FDS_START."""
_MOST_DESCRIPTORS = 1024
"""More than any manager passes; a number above it is a mistake."""


class ManagerError(Exception):
    """What the manager said or passed is wrong. The text names it."""


class Manager:
    """What the service manager told us through the environment."""

    def __init__(self) -> None:
        self.notify_socket = ""
        self.watchdog_usec = 0
        """0: no watchdog."""
        self.listeners: list[tuple[int, str]] = []
        """(descriptor, name) of each socket that was passed."""
        self.warning = ""
        """What was found and is ignored, for the log."""


def take_environment(environ: MutableMapping[str, str], pid: int) -> Manager:
    """Take all that is the manager's out of `environ`. Raises ManagerError."""
    manager = Manager()
    manager.notify_socket = environ.pop("NOTIFY_SOCKET", "")
    manager.watchdog_usec = _take_watchdog(environ, pid)
    names = environ.pop("LISTEN_FDNAMES", "")
    listen_pid = environ.pop("LISTEN_PID", "")
    listen_fds = environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_PIDFDID", None)
    if not listen_fds and not listen_pid:
        return manager
    if _number("LISTEN_PID", listen_pid) != pid:
        manager.warning = (
            f"LISTEN_PID={listen_pid} is not this process ({pid}), so the {listen_fds} sockets that were passed are "
            "not taken: a wrapper between the manager and upperd must exec it, not fork"
        )
        return manager
    count = _number("LISTEN_FDS", listen_fds)
    if count > _MOST_DESCRIPTORS:
        raise ManagerError(f"LISTEN_FDS={listen_fds} is more than {_MOST_DESCRIPTORS}")
    named = names.split(":") if names else []
    for index in range(count):
        name = named[index] if index < len(named) else "unknown"
        manager.listeners.append((FIRST_DESCRIPTOR + index, name))
    return manager


def _take_watchdog(environ: MutableMapping[str, str], pid: int) -> int:
    usec, watched = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
    if not usec or (watched and _number("WATCHDOG_PID", watched) != pid):
        return 0
    return _number("WATCHDOG_USEC", usec)


def _number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise ManagerError(f"{name}={value!r} is not a number")
    return int(value)
