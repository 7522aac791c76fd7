"""A listening socket: what it is bound to, and what of it is ours to remove.

There are three kinds. Activated: passed by the service manager (activation.py); never unlinked, never shut down. Bound:
made here (binding.py, tcp.py). Stored: bound here, or by an earlier daemon, and kept open in the manager's descriptor
store (sd_notify(3), FDSTORE=1), so that it outlives us: who waits in its queue meanwhile is served by the next daemon.

The parent accepts on all of them, and must never wait for a client that has vanished meanwhile: so none of them blocks.
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
"""Of TCP: the kernel cuts it down to net.core.somaxconn (listen(2)). A client without a place waits for a second."""
UNIX_BACKLOG = 512
"""Of a Unix socket, where a client that finds no place waits in connect(2) for the next one. The kernel's queue knows
no users: each client waits for all that one user has put into it, so a longer queue makes a flood worse for others."""
_STORED = "bound."
"""The names of stored listeners begin so, those of a socket unit do not."""


class StartError(Exception):
    """There is no daemon. The text says why and what to do; `errno` is for the manager (sd_notify(3), ERRNO=)."""

    status = 73
    """What we exit with."""
    has_threads = False
    """Whether the handler's module has started threads, for which an ordinary exit would wait."""

    def __init__(self, text: str, number: int | None = errno.EINVAL) -> None:
        super().__init__(text)
        self.errno = number or errno.EINVAL


class ListenerError(StartError):
    """There is no such listener. `may_fall_back`: TCP may take the place of the default path."""

    def __init__(self, text: str, number: int | None = errno.EINVAL, *, may_fall_back: bool = False) -> None:
        super().__init__(text, number)
        self.may_fall_back = may_fall_back


class AlreadyRunningError(ListenerError):
    """A live daemon has the path, or the abstract name."""

    status = 75

    def __init__(self, path: str, pid: int, owner: str = "", so: str = "") -> None:
        who = f"pid {pid if pid > 0 else 'unknown'}{owner}"
        super().__init__(f"already running ({who}) on {path}{so}", errno.EADDRINUSE)


class HeldError(ListenerError):
    """A service manager keeps the path open, for a socket unit or in its store."""

    status = 75

    def __init__(self, path: str, what: str, option: str) -> None:
        cure = f"start its service (systemctl list-sockets names it), or choose another path with {option}"
        super().__init__(f"{path} {what}: {cure}", errno.EADDRINUSE)


class ActivationError(ListenerError):
    """A descriptor that was passed is neither a listening stream socket nor a bound one for datagrams."""

    status = 78


class Listener:
    """A bound socket, made not to block: whether it is `activated`; and where it is not, the path and lock we own."""

    def __init__(self, sock: socket.socket, name: str = "", *, activated: bool = False) -> None:
        sock.setblocking(False)
        self.socket = sock
        self.activated = activated
        self.name = name
        self.is_stored = False
        """Whether the manager keeps a copy, so that it outlives us."""
        self.turns_away = False
        """Whether no newcomer gets into its queue any more (tcp.turn_away)."""
        self.is_unix = sock.family == socket.AF_UNIX
        self.is_datagram = sock.type == socket.SOCK_DGRAM
        self._bound_to = sock.getsockname()
        self.is_private = bool(self.abstract)
        """Whether, without a rule that allows a user, it is for root and our own user alone."""
        self._lock = -1
        self._inode: tuple[int, int] | None = None

    @property
    def path(self) -> str:
        """The path of a Unix socket; empty where it has none."""
        return self._bound_to if self.is_unix and isinstance(self._bound_to, str) else ""

    @property
    def abstract(self) -> str:
        """The name of an abstract Unix socket, such as @upperd; empty where it is another one."""
        is_abstract = self.is_unix and isinstance(self._bound_to, bytes)
        return f"@{os.fsdecode(self._bound_to[1:])}" if is_abstract else ""

    @property
    def address(self) -> str:
        """For people: unix:/run/upperd/upperd.sock, unix:@upperd, tcp:127.0.0.1:9999; unix-dgram: and udp: likewise."""
        if self.is_unix:
            return f"{'unix-dgram' if self.is_datagram else 'unix'}:{self.abstract or self.path}"
        host, port = self._bound_to[:2]
        return f"{'udp' if self.is_datagram else 'tcp'}:{f'[{host}]' if ':' in host else host}:{port}"

    def describe(self, whose: str = "") -> str:
        """The address, where it comes from, and for whom alone it is."""
        origin = f"activated as {self.name}" if self.activated else "bound"
        return f"{self.address} ({origin}{whose})"

    def store_name(self) -> str:
        """Its name in the manager's descriptor store. Raises OSError where the path is gone."""
        return store_name(self._bound_to, self.socket.type)

    def listen(self) -> None:
        """Let clients in. A socket for datagrams has no such step. Raises OSError."""
        if not self.is_datagram:
            self.socket.listen(UNIX_BACKLOG if self.socket.family == socket.AF_UNIX else BACKLOG)

    def own(self, lock: int) -> None:
        """The path is ours, by this lock, which is closed with the listener. Raises OSError where the path is gone."""
        self._lock = lock
        self._inode = _inode(self.path)

    def unlink(self) -> None:
        """Remove the path that we bound, if it still is what we bound, and does not outlive us."""
        if self._inode is None or self.is_stored:
            return
        try:
            if _inode(self.path) == self._inode:
                os.unlink(self.path)
        except OSError:
            pass  # it is gone, or its folder is: nothing of ours is left
        self._inode = None

    @property
    def can_be_found(self) -> bool:
        """Whether newcomers still get into its queue: its path was not removed, its address not closed to them."""
        return not self.turns_away and (not self.path or self.is_stored or self._inode is not None)

    def end(self) -> None:
        """Close one that turns newcomers away, once its queue is served: from now on they are refused at once.

        The parent must not poll it any more. Any other one stays until `close`.
        """
        if self.turns_away:
            self.socket.close()

    def close(self) -> None:
        """Close the socket and let go of the lock."""
        self.socket.close()
        self.let_go()

    def let_go(self) -> None:
        """End the lock of the path, and leave no file of it."""
        if self._lock >= 0:
            locks.release(paths.lock_of(self.path), self._lock)
            self._lock = -1

    def keep_lock(self) -> None:
        """Lock the path again where the lock's file was removed. Raises OSError, LockedError."""
        if self._lock >= 0 and not locks.is_at(paths.lock_of(self.path), self._lock):
            lock = locks.take(paths.lock_of(self.path))
            os.close(self._lock)
            self._lock = lock

    @property
    def is_lost(self) -> bool:
        """Whether no client finds us any more: our path was removed, or something else lies there."""
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
    """Whether a descriptor of this name (LISTEN_FDNAMES) comes from the store: bound.1f.2ab; bound.x is a unit's."""
    return name.startswith(_STORED) and "." in name.removeprefix(_STORED)


def store_name(address: Any, kind: int = socket.SOCK_STREAM) -> str:
    """The name of the listener that is bound to `address` at this moment. Raises OSError: there is no such path.

    A path is named by its inode, so that a listener whose path is another one's by now is not found by it.
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
    """Take out of `stored` the listener of this kind that is bound to `address`; None: there is none."""
    try:
        name = store_name(address, kind)
    except OSError:
        return None
    return stored.pop(name) if stored and name in stored and stored[name].socket.type == kind else None
