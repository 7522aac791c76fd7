"""A listener: its socket, what that is bound to, and which files we remove with it.

There are three kinds. An activated one is passed by the service manager (activation.py); we never unlink it or shut it
down. A bound one is made by us (binding.py, tcp.py). A stored one was bound by us or an earlier daemon, and the manager
keeps it open in its descriptor store (sd_notify(3), FDSTORE=1): the next daemon serves the clients in its backlog.

All are non-blocking: accept() in the parent must never wait because a client has disconnected meanwhile.
"""

from __future__ import annotations

import errno
import os
import socket

from upperd.base import locks, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Stored = dict[str, "Listener"]

BACKLOG = 2**31 - 1
"""For TCP: the kernel cuts it to net.core.somaxconn (listen(2)). If it is full, a client tries again in a second."""
UNIX_BACKLOG = 512
"""For a Unix socket: if it is full, a client blocks in connect(2). The kernel does not tell users apart in a backlog:
each client waits behind all connections of a user that floods it, and a longer backlog makes that wait longer."""
_STORED = "bound."
"""The prefix of the names of stored listeners; see is_stored()."""


class StartError(Exception):
    """The daemon cannot run. The text says why and what to do; `errno` is for the manager (sd_notify(3), ERRNO=)."""

    status = 73
    """The exit status of the daemon."""
    has_threads = False
    """Whether the handler's module has started threads, for which an ordinary exit would wait."""

    def __init__(self, text: str, number: int | None = errno.EINVAL) -> None:
        super().__init__(text)
        self.errno = number or errno.EINVAL


class ListenerError(StartError):
    """A listener cannot be opened. `may_fall_back`: TCP may replace it if it is the default path."""

    def __init__(self, text: str, number: int | None = errno.EINVAL, *, may_fall_back: bool = False) -> None:
        super().__init__(text, number)
        self.may_fall_back = may_fall_back


class AlreadyRunningError(ListenerError):
    """A running daemon holds the path or the abstract name."""

    status = 75

    def __init__(self, path: str, pid: int, owner: str = "", so: str = "") -> None:
        who = f"pid {pid if pid > 0 else 'unknown'}{owner}"
        super().__init__(f"already running ({who}) on {path}{so}", errno.EADDRINUSE)


class HeldError(ListenerError):
    """A service manager keeps the socket of the path open, for a socket unit or in its store."""

    status = 75

    def __init__(self, path: str, what: str, option: str) -> None:
        cure = f"start its service (systemctl list-sockets names it), or choose another path with {option}"
        super().__init__(f"{path} {what}: {cure}", errno.EADDRINUSE)


class ActivationError(ListenerError):
    """A passed descriptor is neither a listening stream socket nor a bound datagram socket."""

    status = 78


class Listener:
    """A bound, non-blocking socket. If it is not `activated`, also the path and the lock that we own."""

    def __init__(self, sock: socket.socket, name: str = "", *, activated: bool = False) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.activated = activated
        self.name = name
        self.is_stored = False
        """Whether the manager keeps a copy, so that the socket outlives us."""
        self.turns_away = False
        """Whether new clients are kept out of its backlog (tcp.turn_away)."""
        self.is_unix = sock.family == socket.AF_UNIX
        self.is_datagram = sock.type == socket.SOCK_DGRAM
        self._bound_to = sock.getsockname()
        self.is_private = bool(self.abstract)
        """Whether only root and our own user may connect, unless a rule allows a user or group."""
        self._lock = -1
        self._inode: tuple[int, int] | None = None

    @property
    def path(self) -> str:
        """The path of a Unix socket; empty if it has none."""
        return self._bound_to if self.is_unix and isinstance(self._bound_to, str) else ""

    @property
    def abstract(self) -> str:
        """The name of an abstract Unix socket, such as @upperd; empty for any other socket."""
        is_abstract = self.is_unix and isinstance(self._bound_to, bytes)
        return f"@{os.fsdecode(self._bound_to[1:])}" if is_abstract else ""

    @property
    def address(self) -> str:
        """The address in text: unix:/run/upperd/upperd.sock, unix:@upperd, tcp:127.0.0.1:9999; or unix-dgram:, udp:."""
        if self.is_unix:
            return f"{'unix-dgram' if self.is_datagram else 'unix'}:{self.abstract or self.path}"
        host, port = self._bound_to[:2]
        return f"{'udp' if self.is_datagram else 'tcp'}:{f'[{host}]' if ':' in host else host}:{port}"

    def describe(self, whose: str = "") -> str:
        """The address, its origin, and `whose`: a text that says who alone may connect."""
        origin = f"activated as {self.name}" if self.activated else "bound"
        return f"{self.address} ({origin}{whose})"

    def store_name(self) -> str:
        """Its name in the manager's descriptor store. Raises OSError if the path is gone."""
        return store_name(self._bound_to, self.socket.type)

    def listen(self) -> None:
        """Start listening; a datagram socket needs no such step. Raises OSError."""
        if not self.is_datagram:
            self.socket.listen(UNIX_BACKLOG if self.socket.family == socket.AF_UNIX else BACKLOG)

    def own(self, lock: int) -> None:
        """Own the path by `lock`, a descriptor that is closed with the listener. Raises OSError if the path is gone."""
        self._lock = lock
        self._inode = _inode(self.path)

    def unlink(self) -> None:
        """Remove the path, if it still is the socket that we bound, and is not stored."""
        if self._inode is None or self.is_stored:
            return
        try:
            if _inode(self.path) == self._inode:
                os.unlink(self.path)
        except OSError:
            pass  # the path or its folder is gone already
        self._inode = None

    @property
    def can_be_found(self) -> bool:
        """Whether new clients still get into its backlog: we have not unlinked its path or turned them away."""
        return not self.turns_away and (not self.path or self.is_stored or self._inode is not None)

    def end(self) -> None:
        """Close a listener that turns new clients away, once its backlog is served: the next daemon can bind its port.

        The parent must no longer poll it. Any other listener stays open until `close`.
        """
        if self.turns_away:
            self.socket.close()

    def close(self) -> None:
        """Close the socket and release the lock."""
        self.socket.close()
        self.let_go()

    def let_go(self) -> None:
        """Release the lock of the path, and remove the lock file."""
        if self._lock >= 0:
            locks.release(paths.lock_of(self.path), self._lock)
            self._lock = -1

    def keep_lock(self) -> None:
        """Lock the path again if the lock file was removed. Raises OSError, LockedError."""
        if self._lock >= 0 and not locks.is_at(paths.lock_of(self.path), self._lock):
            lock = locks.take(paths.lock_of(self.path))
            os.close(self._lock)
            self._lock = lock

    @property
    def is_lost(self) -> bool:
        """Whether clients no longer find us: our path was removed or replaced."""
        if self._inode is None:
            return False
        try:
            return _inode(self.path) != self._inode
        except OSError:
            return True


def _inode(path: str | bytes) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


# The manager's descriptor store


def is_stored(name: str) -> bool:
    """Whether a name in LISTEN_FDNAMES is one of the store, such as bound.1f.2ab; bound.x is a socket unit's."""
    return name.startswith(_STORED) and "." in name.removeprefix(_STORED)


def store_name(address: Any, kind: int = socket.SOCK_STREAM) -> str:
    """The name in the store of the listener now bound to `address`. Raises OSError if there is no such path.

    The name of a path has its inode, so a stored listener is not found once another file has replaced its path.
    """
    is_datagram = kind == socket.SOCK_DGRAM
    if isinstance(address, tuple):  # a colon would end a name
        return f"{_STORED}{'udp.' * is_datagram}{address[0].replace(':', '_')}.{address[1]}"
    name = os.fsencode(address)
    if name.startswith(b"\0"):
        return f"{_STORED}{'datagram.' * is_datagram}abstract.{name[1:].hex()}"
    device, inode = _inode(name)
    return f"{_STORED}{device:x}.{inode:x}"


def take_stored(stored: Stored | None, address: Any, kind: int) -> Listener | None:
    """Take the listener of this kind that is bound to `address` out of `stored`; None if there is none."""
    try:
        name = store_name(address, kind)
    except OSError:
        return None
    return stored.pop(name) if stored and name in stored and stored[name].socket.type == kind else None
