"""The wire to the service manager: sd_notify(3) out, sd_listen_fds(3) and sd_watchdog_enabled(3) in.

`sdnotify` is the transport. Three of its habits do not reach us: it encodes Latin-1 (we hand it text whose Latin-1 is
our UTF-8), it swallows every error (its `debug` mode raises them), and its socket blocks once the manager has a dozen
messages waiting (we make it non-blocking). Only the parent notifies; a child finds nothing of all this in its
environment, because the launcher (cli.py) takes it out before the parent begins.
"""

from __future__ import annotations

import os
import socket

from sdnotify import SystemdNotifier

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, MutableMapping, Sequence

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


class Notifier:
    """Sends to the manager. Nothing here blocks or raises; what could not be sent is `lost`, and said by the result."""

    def __init__(self, address: str) -> None:
        """`address` is NOTIFY_SOCKET; empty: there is no manager, and nothing is sent."""
        self._address = address
        self._transport: SystemdNotifier | None = None
        self.lost = 0

    @property
    def is_connected(self) -> bool:
        """Whether there is somebody to notify."""
        return bool(self._address)

    def close(self) -> None:
        """Whom we notified is gone: nothing is sent any more."""
        self._address = ""
        if self._transport is not None:
            self._transport.socket.close()
            self._transport = None

    def send(self, *assignments: str, descriptors: Sequence[int] = ()) -> bool:
        """Send assignments such as "READY=1" in one message, and copies of `descriptors`. False: it was lost."""
        message = _one_line(assignments)
        return not self._address or self._send(message, descriptors) or self._reconnect_and_send(message, descriptors)

    def _reconnect_and_send(self, message: str, descriptors: Sequence[int]) -> bool:
        """The socket may have been made anew at its path since we connected."""
        if self._transport is not None:
            self._transport.socket.close()
            self._transport = None
        if self._send(message, descriptors):
            return True
        self.lost += 1
        return False

    def _send(self, message: str, descriptors: Sequence[int]) -> bool:
        data = message.encode("utf-8", "replace")
        try:
            if self._transport is None:
                self._transport = self._connect()
            if descriptors:
                socket.send_fds(self._transport.socket, [data], descriptors)
            else:
                self._transport.notify(data.decode("latin-1"))
        except (OSError, ValueError):
            return False
        return True

    def _connect(self) -> SystemdNotifier:
        # sdnotify reads its address from the environment, and nowhere else.
        os.environ["NOTIFY_SOCKET"] = self._address
        try:
            transport = SystemdNotifier(debug=True)
        finally:
            del os.environ["NOTIFY_SOCKET"]
        transport.socket.setblocking(False)
        return transport


def _one_line(assignments: Iterable[str]) -> str:
    """One assignment a line, as the protocol has it; a line break inside one would begin another."""
    return "\n".join(" ".join(assignment.split("\n")) for assignment in assignments)
