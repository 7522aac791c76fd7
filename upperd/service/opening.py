"""Opens what a daemon needs at its start: its listeners and its scoreboard.

The first listeners are the sockets that the manager passed, or else the socket path, or else TCP in its place. Then
come the TCP and datagram sockets that options name. activation.py, binding.py and tcp.py open each kind of socket.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from upperd import __version__
from upperd.base import locks, paths
from upperd.server import scoreboard
from upperd.service import activation, log
from upperd.service.binding import Permissions, bind_unix
from upperd.service.listeners import Listener, ListenerError
from upperd.service.log import Log
from upperd.service.notify import Notifier
from upperd.service.settings import Settings, about_path, no_effect
from upperd.service.tcp import bind_fallback, bind_tcp, is_remote


class Opening:
    """Opens the listeners of one daemon. After an error, too, `opened` holds every listener that is open."""

    def __init__(self, settings: Settings, log: Log, notifier: Notifier) -> None:
        self._settings, self._log, self._notifier = settings, log, notifier
        self._stored: dict[str, Listener] = {}
        self.opened: list[Listener] = []
        self.scoreboard_lock = ("", -1)
        """The path of the lock's file, and the descriptor that holds the lock; -1: no lock."""

    def open_all(self) -> None:
        """Open every listener. Raises ListenerError."""
        settings = self._settings
        for descriptor, name in settings.passed():
            listener = activation.adopt(descriptor, name)
            if listener.activated:
                self.opened.append(listener)
            else:
                self._stored[name] = listener
        if self.opened:
            settings.socket_unit = self.opened[0].name
            for name in about_path(settings):
                self._log.write(log.WARNING, "starting", no_effect(name, settings.socket_unit))
        if not (settings.no_socket or self.opened):
            self._open_path()
        if settings.tcp:
            self._open_tcp(settings.tcp, socket.SOCK_STREAM)
        if settings.udp:
            self._open_tcp(settings.udp, socket.SOCK_DGRAM)
        if settings.datagram:
            self._bind(settings.datagram, socket.SOCK_DGRAM)
        self._drop_stored()
        if settings.store_listeners:
            self._store()

    def _bind(self, path: str, kind: socket.SocketKind, default_folder_of: int | None = None) -> None:
        said = self._settings
        permissions = Permissions(said.socket_mode, said.socket_owner, said.socket_group)
        self.opened.append(
            bind_unix(
                path, kind=kind, permissions=permissions, default_folder_of=default_folder_of, stored=self._stored
            )
        )

    def _open_path(self) -> None:
        """Bind the path. If the default path cannot be bound, listen on TCP instead."""
        settings = self._settings
        try:
            self._bind(settings.socket, socket.SOCK_STREAM, os.geteuid() if settings.default_socket else None)
        except ListenerError as error:
            if not (error.may_fall_back and settings.fallback):
                raise
            if not settings.tcp:
                self.opened += bind_fallback(settings.fallback, error, self._stored)
            self._log.write(log.WARNING, "starting", f"{error}; listening on TCP instead")

    def _open_tcp(self, host_port: str, kind: socket.SocketKind) -> None:
        opened = bind_tcp(host_port, self._stored, allow_remote=self._settings.tcp_allow_remote, kind=kind)
        self.opened += opened
        remote = ", ".join(x.address for x in opened if is_remote(x.socket.getsockname()[0]))
        if remote:
            forged = "; a datagram's sender can be forged" * (kind == socket.SOCK_DGRAM)
            text = f"{remote}: any host that can reach this address may connect, and its users are unknown{forged}"
            self._log.write(log.WARNING, "starting", text)

    def _drop_stored(self) -> None:
        """Drop stored listeners of an earlier daemon that no option names any more: another path, another address."""
        for name, listener in self._stored.items():
            self._notifier.send("FDSTOREREMOVE=1", f"FDNAME={name}")
            listener.close()
        self._stored.clear()

    def _store(self) -> None:
        bound = [listener for listener in self.opened if not listener.activated]
        if bound and not self._notifier.is_connected:
            self._log.write(log.WARNING, "starting", "store-listeners: there is no service manager to store listeners")
        elif bound and not os.environ.get("FDSTORE"):
            text = "$FDSTORE is not set, so the manager may store none: systemd since 254 sets it"
            cure = "if FileDescriptorStoreMax= is set; older ones never do"
            self._log.write(log.INFO, "starting", f"store-listeners: {text} {cure}")
        for listener in bound:
            try:
                name = listener.store_name()
            except OSError:
                continue  # its path was removed already: no client would find it
            self._notifier.send("FDSTORE=1", f"FDNAME={name}", descriptors=[listener.socket.fileno()])
            listener.is_stored = self._notifier.is_connected

    def renew(self, listener: Listener) -> Listener:
        """Bind a listener's removed path again; returns the new listener, which replaces the old one in `opened`.

        The old socket stays open. Raises ListenerError; then `opened` is unchanged, but the path is no longer locked.
        """
        listener.let_go()  # first: closing its descriptor later would end the new lock (fcntl(2))
        kind = socket.SOCK_DGRAM if listener.is_datagram else socket.SOCK_STREAM
        is_default = self._settings.default_socket and listener.path == self._settings.socket
        self._bind(listener.path, kind, os.geteuid() if is_default else None)
        renewed = self.opened.pop()
        self.opened[self.opened.index(listener)] = renewed
        if self._settings.store_listeners:
            self._store()
        return renewed

    def open_scoreboard(self, counters: Sequence[str] = ()) -> scoreboard.Scoreboard:
        """Open the scoreboard. `counters`: the names of the handler's own.

        If its file cannot be made, it is anonymous memory: then `upperctl` has no statistics, but the daemon serves.
        """
        settings = self._settings
        path, folder_of = (settings.scoreboard, "") if settings.scoreboard else _beside_socket(settings, self.opened)
        lock, lock_path = -1, paths.lock_of(path)
        try:
            if folder_of:
                paths.make_default_folder(folder_of, os.geteuid())
            scoreboard.refuse_other_file(path)  # before a lock is made beside it
            lock = locks.take(lock_path)
            board = scoreboard.Scoreboard(path, settings.max_children)
            self.scoreboard_lock = lock_path, lock
        except (OSError, paths.FolderError, locks.LockedError) as error:
            if lock >= 0:
                locks.release(lock_path, lock)
            why = error.strerror if isinstance(error, OSError) else error
            text = f"no scoreboard at {path}: {why}; upperctl will have no statistics"
            self._log.write(log.WARNING, "starting", text)
            board = scoreboard.Scoreboard(None, settings.max_children)
        board.describe(__version__, describe(self.opened, settings), counters, settings.name, settings.handler)
        return board

    def keep_scoreboard_lock(self) -> None:
        """Lock the scoreboard again if the lock's file was removed. Raises OSError, LockedError."""
        path, lock = self.scoreboard_lock
        if lock >= 0 and not locks.is_at(path, lock):
            self.scoreboard_lock = path, locks.take(path)
            os.close(lock)

    def close(self) -> None:
        """Remove the paths that we bound, and close everything."""
        for listener in [*self.opened, *self._stored.values()]:
            listener.unlink()
            listener.close()
        path, lock = self.scoreboard_lock
        if lock >= 0:
            self.scoreboard_lock = "", -1
            locks.release(path, lock)


def _beside_socket(settings: Settings, opened: list[Listener]) -> tuple[str, str]:
    """The scoreboard's default path, and the socket path whose folder must be made for it; empty: none."""
    # Stream sockets first: upperctl looks for the scoreboard beside a stream socket.
    opened = sorted(opened, key=lambda listener: listener.is_datagram)
    for listener in opened:
        if listener.path:
            return paths.scoreboard_of(listener.path, paths.runtime_folder(dict(os.environ))), ""
    name = next((listener.abstract for listener in opened if listener.abstract), settings.socket)
    if not (settings.default_socket or paths.is_abstract(name)):
        return paths.scoreboard_of(name), ""  # the operator named the path, so its folder is not ours to make
    default = paths.daemon_socket(dict(os.environ), os.geteuid(), settings.name)
    return paths.scoreboard_of(paths.stand_in(name, default)), default


def describe(opened: list[Listener], settings: Settings) -> list[str]:
    """Each listener, for people. A private one names the users that it admits, unless an access rule does."""
    uid = os.geteuid()
    whose = ", for root alone" if uid == 0 else f", for root and uid {uid} alone"
    is_open = settings.allow_user or settings.allow_group
    return [listener.describe(whose if listener.is_private and not is_open else "") for listener in opened]
