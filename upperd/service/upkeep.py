"""Looks after the daemon's files: keeps them from ageing, and makes a removed one again, or else logs that it is gone.

A look costs a few stat(2), at least LOOK_SECONDS apart. It must not open a file that we have locked: closing it again
would end the lock (fcntl(2)).
"""

from __future__ import annotations

import fcntl
import os

from upperd.base import locks
from upperd.service import log
from upperd.service.listeners import StartError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from upperd.server.parent import Parent
    from upperd.service.log import Log
    from upperd.service.opening import Opening
    from upperd.service.pidfile import PidFile
    from upperd.service.servers import DaemonServer

LOOK_SECONDS = 10.0
IDLE_SECONDS = 60.0
"""Between two looks if nothing else happens: a look wakes the processor from its sleep."""
_AGEING = ("/tmp/", "/var/tmp/")
"""Folders in which unused files are removed after some days (tmpfiles.d(5))."""


def hold_folders(paths: list[str]) -> None:
    """Make systemd-tmpfiles(8) skip the folders of these files, by a lock that ends with this process (flock(2)).

    The descriptors that hold the locks stay open.
    """
    for folder in {os.path.dirname(path) for path in paths}:
        if f"{folder}/".startswith(_AGEING) and f"{folder}/" not in _AGEING:
            try:
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                pass  # systemd-tmpfiles may have it locked: if it removes a file, that is made again


class Upkeep:
    """The files of one daemon."""

    def __init__(
        self, parent: Parent, opening: Opening, servers: list[DaemonServer], log: Log, pid_file: PidFile
    ) -> None:
        self._parent, self._opening, self._servers = parent, opening, servers
        self._log, self._pid_file = log, pid_file
        self._next = parent.loop.now + LOOK_SECONDS
        self._said: set[str] = set()
        listeners, board = opening.opened, parent.board.path
        hold_folders([*(x.path for x in listeners if not x.activated), *([board] if board else [])])
        parent.loop.timers.append(self.turn)

    def turn(self, now: float) -> float:
        """Look, if it is time; return when to be called again."""
        if now >= self._next:
            self._next = now + LOOK_SECONDS
            self.look()
        return self._next + IDLE_SECONDS - LOOK_SECONDS

    def look(self) -> None:
        """Make removed files again; log, once, those that cannot be made."""
        for listener in self._opening.opened:
            if listener.is_lost:
                self._say(f"{listener.path} was removed: no client finds it; a reload binds it anew")
            else:
                self._make(listener.keep_lock)
        if self._parent.board.is_lost:
            self._say(f"{self._parent.board.path} was removed: there are no statistics until a restart")
        else:
            self._make(self._opening.keep_scoreboard_lock)
        self._make(self._pid_file.keep)

    def _make(self, keep: Callable[[], object]) -> None:
        try:
            keep()
        except (OSError, StartError, locks.LockedError) as error:
            self._say(f"cannot restore a file that was removed: {getattr(error, 'strerror', None) or error}")

    def _say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._log.write(log.WARNING, "files", text)

    def renew(self) -> str:
        """Bind each removed path again; returns what was done, for people. Raises ListenerError."""
        lost = [listener for listener in self._opening.opened if listener.is_lost]
        accepter, was_on = self._parent.accepter, self._parent.accepter.is_on
        accepter.stop()
        try:
            for listener in lost:
                renewed = self._opening.renew(listener)
                for server in self._servers:
                    if server.socket is listener.socket:
                        server.socket = renewed.socket
                listener.socket.close()
        finally:
            accepter.is_on = was_on
            accepter.adjust()
        self._said.clear()
        return ", ".join(f"{listener.path} was removed and is bound anew" for listener in lost)
