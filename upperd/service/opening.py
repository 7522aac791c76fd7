"""What a daemon opens when it starts: its listeners, and its scoreboard.

On which sockets to listen: those that are passed, else the path, else (or beside it) TCP; and beside that, where one
asks for them, on those for datagrams. The law: policy only. How one listens is in listeners.py and tcp.py.
"""

from __future__ import annotations

import os
import socket

from upperd import __version__
from upperd.base import locks, paths
from upperd.server import scoreboard
from upperd.service import listeners, log
from upperd.service.tcp import bind_tcp, is_remote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from upperd.service.listeners import Listener
    from upperd.service.log import Log
    from upperd.service.notify import Notifier
    from upperd.service.settings import Settings


class Opening:
    """The listeners of one daemon while they are opened. Whatever happens, `opened` is what there is to close."""

    def __init__(self, settings: Settings, log: Log, notifier: Notifier) -> None:
        self._settings = settings
        self._log = log
        self._notifier = notifier
        self._stored: dict[str, Listener] = {}
        self.opened: list[Listener] = []

    def open_all(self) -> None:
        """Open every listener. Raises ListenerError."""
        settings = self._settings
        for descriptor, name in settings.passed():
            listener = listeners.adopt(descriptor, name)
            if listener.activated:
                self.opened.append(listener)
            else:
                self._stored[name] = listener
        if not (settings.no_socket or self.opened):
            self._open_path()
        if settings.tcp:
            self._open_tcp(settings.tcp, allow_remote=settings.tcp_allow_remote)
        if settings.udp:
            self._open_tcp(settings.udp, allow_remote=settings.tcp_allow_remote, kind=socket.SOCK_DGRAM)
        if settings.datagram:
            self.opened.append(self._bind_unix(settings.datagram, kind=socket.SOCK_DGRAM))
        if settings.max_children < len(self.opened):
            raise listeners.ListenerError(too_few_children(settings.max_children, len(self.opened)))
        self._drop_stored()
        if settings.store_listeners:
            self._store()

    def _bind_unix(
        self, path: str, *, kind: socket.SocketKind = socket.SOCK_STREAM, default_folder_of: int | None = None
    ) -> Listener:
        settings = self._settings
        if paths.is_abstract(path):  # TCP never takes its place: there everybody on this host might come in
            return listeners.bind_abstract(path, self._stored, kind=kind)
        permissions = listeners.Permissions(settings.socket_mode, settings.socket_owner, settings.socket_group)
        return listeners.bind_unix(
            path, kind=kind, permissions=permissions, default_folder_of=default_folder_of, stored=self._stored
        )

    def _open_path(self) -> None:
        settings = self._settings
        folder_of = os.geteuid() if settings.default_socket else None
        try:
            self.opened.append(self._bind_unix(settings.socket, default_folder_of=folder_of))
        except listeners.ListenerError as error:
            if not (error.may_fall_back and settings.fallback):
                raise
            self._log.write(log.WARNING, "starting", f"{error}; listening on TCP instead")
            if not settings.tcp:
                self._open_tcp(settings.fallback)

    def _open_tcp(
        self, host_port: str, *, allow_remote: bool = False, kind: socket.SocketKind = socket.SOCK_STREAM
    ) -> None:
        opened = bind_tcp(host_port, self._stored, allow_remote=allow_remote, kind=kind)
        self.opened += opened
        remote = [listener.address for listener in opened if is_remote(listener.socket.getsockname()[0])]
        if remote:
            forged = "; a datagram's sender can be forged" * (kind == socket.SOCK_DGRAM)
            self._log.write(
                log.WARNING,
                "starting",
                f"{', '.join(remote)}: whoever can reach that may connect, and who it is remains unknown{forged}",
            )

    def _drop_stored(self) -> None:
        """What an earlier daemon left in the store and we have no use for: another path, another address."""
        for name, listener in self._stored.items():
            self._notifier.send("FDSTOREREMOVE=1", f"FDNAME={name}")
            listener.close()
        self._stored.clear()

    def _store(self) -> None:
        for listener in self.opened:
            if not listener.activated:
                try:
                    name = listener.store_name()
                except OSError:
                    continue  # its path is gone already: nobody would find it there
                sent = self._notifier.send("FDSTORE=1", f"FDNAME={name}", descriptors=[listener.socket.fileno()])
                listener.is_stored = sent and self._notifier.is_connected

    def close(self) -> None:
        """Remove the paths that are ours, and close everything."""
        for listener in [*self.opened, *self._stored.values()]:
            listener.unlink()
            listener.close()


def open_scoreboard(settings: Settings, opened: list[Listener], log_to: Log) -> tuple[scoreboard.Scoreboard, int]:
    """The scoreboard, and the descriptor of its lock (-1: there is none).

    A file, else anonymous memory: no statistics from outside are better than no service.
    """
    lock = -1
    path, folder_of = (settings.scoreboard, "") if settings.scoreboard else _beside_socket(settings, opened)
    try:
        if folder_of:
            paths.make_default_folder(folder_of, os.geteuid())
        lock = locks.take(paths.lock_of(path))
        board = scoreboard.Scoreboard(path, settings.max_children)
    except (OSError, paths.FolderError, locks.LockedError) as error:
        reason = f"no scoreboard at {path}: {error}; upperctl will have no statistics"
        log_to.write(log.WARNING, "starting", reason)
        board = scoreboard.Scoreboard(None, settings.max_children)
    board.describe(__version__, describe(opened, settings))
    return board, lock


def _beside_socket(settings: Settings, opened: list[Listener]) -> tuple[str, str]:
    """The scoreboard's path where nobody names one; and the default path whose folder is to be made for it, if any."""
    # Of a stream socket, where there is one: that is where upperctl looks.
    opened = sorted(opened, key=lambda listener: listener.is_datagram)
    for listener in opened:
        if listener.path:
            return paths.scoreboard_of(listener.path), ""
    name = next((listener.abstract for listener in opened if listener.abstract), settings.socket)
    default = settings.socket
    if paths.is_abstract(name):
        default = paths.daemon_socket(dict(os.environ), os.geteuid())
    return paths.scoreboard_of(paths.stand_in(name, default)), default


def describe(opened: list[Listener], settings: Settings) -> list[str]:
    """Each listener for people; and for whom an abstract one is where no rule says it (see guard.py)."""
    uid = os.geteuid()
    whose = ", for root alone" if uid == 0 else f", for root and uid {uid} alone"
    is_open = settings.allow_user or settings.allow_group
    return [listener.describe(whose if listener.abstract and not is_open else "") for listener in opened]


def too_few_children(max_children: int, count: int) -> str:
    """What is wrong with fewer children than listeners."""
    return (
        f"max-children is {max_children}, but there are {count} listeners: each needs a child of its own; "
        "raise --max-children"
    )
