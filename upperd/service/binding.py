"""Binds Unix listeners, at a path or an abstract name (unix(7)).

For a path the steps are: lock it, probe it, bind under a narrow umask, set owner and mode, and only then listen. So one
of two daemons that start at the same moment gets the path, and no other user can connect before the path has its
permissions. An abstract name has no permissions and no file. The kernel gives it to one process, so it needs no lock.
"""

from __future__ import annotations

import errno
import os
import socket
import stat

from upperd.base import locks, paths
from upperd.server import layout, peer
from upperd.server.snapshot import ScoreboardError, read
from upperd.service.listeners import AlreadyRunningError, HeldError, Listener, ListenerError, take_stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from upperd.service.listeners import Stored

_MODE = 0o660
"""The default mode of a socket that we bind, less the umask."""
_LARGEST_BUFFER = 2**30


class Permissions:
    """Mode, owner and group of a path that we bind. `mode` 0: 0660 less the umask; `owner`, `group` -1: unchanged."""

    def __init__(self, mode: int = 0, owner: int = -1, group: int = -1) -> None:
        self._mode, self._owner, self._group = mode, owner, group

    def set(self, path: str) -> None:
        """Set them for the socket at `path`, never for another kind of file or through a link. Raises ListenerError."""
        mask = os.umask(0o077)
        os.umask(mask)
        try:
            descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                    raise FileExistsError(errno.EEXIST, "something else was put in its place")
                inode = f"/proc/self/fd/{descriptor}"  # a socket file opens with O_PATH alone, which fchmod(2) refuses
                if (self._owner, self._group) != (-1, -1):
                    os.chown(inode, self._owner, self._group)
                os.chmod(inode, self._mode or _MODE & ~mask)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno == errno.ENOENT and not os.path.exists("/proc/self/fd"):
                cure = "/proc is not mounted: mount it, or have a socket unit bind the path"
                raise ListenerError(f"cannot give {path} its permissions: {cure}", error.errno) from None
            who = f"owner {self._owner} and group {self._group}".replace(" -1", " unchanged")
            cure = ": only root may choose an owner; others, a group of theirs" * (error.errno == errno.EPERM)
            text = f"cannot give {path} its permissions ({who}): {error.strerror}{cure}"
            raise ListenerError(text, error.errno) from None


def bind_socket(family: int, kind: socket.SocketKind, address: Any) -> socket.socket:
    """Make a socket and bind it to `address`, without listening yet. Raises OSError."""
    sock = socket.socket(family, kind)
    try:
        if kind == socket.SOCK_DGRAM:
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):  # as large as the kernel allows (socket(7))
                sock.setsockopt(socket.SOL_SOCKET, option, _LARGEST_BUFFER)
            if family == socket.AF_UNIX:  # before bind, so that each datagram has its sender's credentials
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        elif family != socket.AF_UNIX:  # not for UDP: two daemons could share a port then (socket(7))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def bind_unix(
    socket_name: str,
    *,
    kind: socket.SocketKind = socket.SOCK_STREAM,
    permissions: Permissions | None = None,
    default_folder_of: int | None = None,
    stored: Stored | None = None,
) -> Listener:
    """Listen at a path, or at the abstract name @NAME: with the `stored` listener bound there, else with a new one.

    `kind`: SOCK_STREAM or SOCK_DGRAM. `default_folder_of`: the uid for which to make the folder of the path; None: do
    not make it. Raises ListenerError.
    """
    if paths.is_abstract(socket_name):
        return _bind_abstract(socket_name, kind, stored)
    path, option = socket_name, _option(kind)
    length = len(os.fsencode(path))
    if length > paths.MAX_PATH:
        text = f"{path} has {length} bytes, and a socket's path at most {paths.MAX_PATH}: choose a shorter one with"
        raise ListenerError(f"{text} {option}", errno.ENAMETOOLONG, may_fall_back=True)
    try:
        if default_folder_of is not None:
            paths.make_default_folder(path, default_folder_of)
        _is_socket(path, kind)  # refuses any other file before a lock file is made beside it
        return _bind_under_lock(path, kind, permissions or Permissions(), stored)
    except paths.FolderError as error:
        raise ListenerError(str(error), errno.EACCES, may_fall_back=True) from None
    except locks.LockedError as error:
        raise AlreadyRunningError(path, error.pid, so=_trouble_of(path, error.pid)) from None
    except OSError as error:
        cure = {
            errno.ENOENT: f": make the folder {os.path.dirname(path) or '.'} first",
            errno.ENOTDIR: f": part of the path is not a folder; choose another path with {option}",
            errno.EACCES: f": start upperd as a user that may write there, or choose another path with {option}",
            errno.EROFS: f": mount a writable file system there, or choose another path with {option}",
        }.get(error.errno or 0, "")
        text = f"cannot listen on {path}: {error.strerror}{cure}"
        raise ListenerError(text, error.errno, may_fall_back=True) from None


def _trouble_of(path: str, pid: int) -> str:
    """Why clients cannot reach the daemon that holds the path; empty if they can, or if the reason is unknown."""
    if os.path.lexists(path):
        return ""
    lost = f"the path was removed, and a reload binds it anew (kill -HUP {pid})"
    try:
        board = read(paths.find_scoreboard(path))
    except (OSError, ScoreboardError):
        return f"; it is about to end, or {lost}"
    if board.drain_seconds:
        return f"; it is draining, try again in {board.drain_seconds} s"
    return f"; {lost}" if board.header["phase"] == layout.READY else ""


def _bind_under_lock(path: str, kind: socket.SocketKind, permissions: Permissions, stored: Stored | None) -> Listener:
    lock = locks.take(paths.lock_of(path))
    try:
        listener = take_stored(stored, path, kind) or _bind(path, kind)
    except BaseException:
        locks.release(paths.lock_of(path), lock)
        raise
    try:
        listener.own(lock)
        permissions.set(path)
        listener.listen()
    except BaseException:
        listener.unlink()
        listener.close()
        raise
    return listener


def _bind(path: str, kind: socket.SocketKind) -> Listener:
    if _is_socket(path, kind):
        _remove_stale(path, kind)
    mask = os.umask(0o177)
    try:
        return Listener(bind_socket(socket.AF_UNIX, kind, path))
    finally:
        os.umask(mask)


def _is_socket(path: str, kind: socket.SocketKind) -> bool:
    """Whether there is a socket at the path; False if it is free. Raises ListenerError for another file, or OSError."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(status.st_mode):
        what = f"{path} exists and is not a socket"
        raise ListenerError(f"{what}: choose another path with {_option(kind)}", errno.EEXIST)
    return True


def _remove_stale(path: str, kind: socket.SocketKind) -> None:
    """Remove a socket that no process listens on; refuse any other. Raises ListenerError or OSError."""
    failure, pid, _ = _probe(path, kind)
    if failure in (0, errno.EAGAIN):  # EAGAIN: the backlog of a live daemon is full
        if what := _held_by_manager(pid):
            raise HeldError(path, what, _option(kind))
        raise AlreadyRunningError(path, pid)
    if failure != errno.ECONNREFUSED:
        reason = "it is a socket of another type" if failure == errno.EPROTOTYPE else os.strerror(failure)
        raise ListenerError(f"{path}: {reason}: remove it, or choose another path with {_option(kind)}", failure)
    os.unlink(path)


def _held_by_manager(pid: int) -> str:
    """How a service manager holds the socket that process `pid` made; empty if it does not, or if that is unknown."""
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            return f"belongs to a socket unit: systemd (pid {pid}) listens on it" * (file.read() == b"systemd\n")
    except OSError:
        pass
    try:
        os.kill(pid or os.getpid(), 0)
    except ProcessLookupError:
        return f"is kept open, as by a service manager, although the process that made it (pid {pid}) has ended"
    except OSError:
        pass
    return ""


def _probe(address: str, kind: socket.SocketKind) -> tuple[int, int, int]:
    """Try to connect: the errno (0: none), and the pid and uid of the listening process (unix(7), SO_PEERCRED).

    After an error, and for datagrams, the pid is 0 and the uid has no meaning.
    """
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        failure = probe.connect_ex(address)
        uid, _, pid = peer.of_unix(probe)
        return failure, pid, uid


def _option(kind: socket.SocketKind) -> str:
    return "--datagram" if kind == socket.SOCK_DGRAM else "--socket"


def _bind_abstract(name: str, kind: socket.SocketKind, stored: Stored | None) -> Listener:
    """Listen at the abstract name @NAME. It has no permissions, so only the access rules keep local users out."""
    address = paths.address_of(name)
    try:
        listener = take_stored(stored, address, kind) or Listener(bind_socket(socket.AF_UNIX, kind, address))
        listener.listen()
        return listener
    except OSError as error:
        if error.errno == errno.EADDRINUSE:  # any process may have taken the name
            failure, pid, uid = _probe(address, kind)
            is_known = failure == 0 and kind == socket.SOCK_STREAM
            raise AlreadyRunningError(name, pid, f" of uid {uid}" if is_known else "") from None
        raise ListenerError(f"cannot listen on {name}: {error.strerror}", error.errno) from None
