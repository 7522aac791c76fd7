"""Where listening sockets come from, and which of them are ours.

Activated: passed by the service manager; never unlinked, never shut down. Bound: made here, under a lock, so that two
daemons that start at the same moment end as one, and nobody ever sees the socket with permissions that are not its own:
lock, probe, bind under a narrow umask, mode, and only then listen (before that a connect() is refused). An abstract
name (unix(7)) has neither permissions nor anything to unlink: the kernel gives it to one, who is its own lock.
"""

from __future__ import annotations

import errno
import os
import socket
import stat

from upperd.base import locks, paths
from upperd.service import store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping

BACKLOG = 2**31 - 1
"""The kernel cuts it down to net.core.somaxconn (listen(2))."""
_MODE = 0o660
"""Of a socket that we bind, less the umask."""
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)
_STREAM, _DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM


class ListenerError(Exception):
    """A listener cannot be had. The text says why and what to do; `may_fall_back`: TCP may take its place.

    `errno` is for the manager (sd_notify(3), ERRNO=).
    """

    def __init__(self, text: str, number: int | None = errno.EINVAL, *, may_fall_back: bool = False) -> None:
        super().__init__(text)
        self.errno = number or errno.EINVAL
        self.may_fall_back = may_fall_back


class AlreadyRunningError(ListenerError):
    """A live daemon has the path."""

    def __init__(self, path: str, pid: int, owner: str = "") -> None:
        super().__init__(f"already running (pid {pid if pid > 0 else 'unknown'}{owner}) on {path}", errno.EADDRINUSE)


class ActivationError(ListenerError):
    """A descriptor that was passed is neither a listening stream socket nor a bound one for datagrams."""


class Permissions:
    """Who may connect to a path that we bind: its mode, owner and group.

    `mode` 0: 0660 less the umask; `owner` and `group` -1: ours.
    """

    def __init__(self, mode: int = 0, owner: int = -1, group: int = -1) -> None:
        self.mode = mode
        self.owner = owner
        self.group = group

    def set(self, path: str) -> None:
        """Give them to the socket at `path`, and never to anything that was put in its place. Raises OSError."""
        mask = os.umask(0o077)
        os.umask(mask)
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                raise FileExistsError(errno.EEXIST, "something else was put in its place", path)
            inode = f"/proc/self/fd/{descriptor}"  # a socket cannot be opened, so there is no fchmod(2) for it
            if self.owner != -1 or self.group != -1:
                os.chown(inode, self.owner, self.group)
            os.chmod(inode, self.mode or _MODE & ~mask)
        finally:
            os.close(descriptor)


class Listener:
    """A listening socket: whether it is `activated`, and if it is not, the path and the lock that are ours."""

    def __init__(self, sock: socket.socket, name: str = "", *, activated: bool = False) -> None:
        self.socket = sock
        self.activated = activated
        self.name = name
        self.is_stored = False
        """Whether the manager keeps a copy, so that it outlives us."""
        self.turns_away = False
        """Whether nobody new gets into its queue (see tcp.py)."""
        self._lock = -1
        self._inode: tuple[int, int] | None = None

    @property
    def is_unix(self) -> bool:
        return self.socket.family == socket.AF_UNIX

    @property
    def is_datagram(self) -> bool:
        return self.socket.type == _DATAGRAM

    @property
    def path(self) -> str:
        """The path of a Unix socket; empty where it has none."""
        address = self.socket.getsockname()
        return address if self.is_unix and isinstance(address, str) and not address.startswith("\0") else ""

    @property
    def abstract(self) -> str:
        """The name of an abstract Unix socket, such as @upperd; empty where it is another one."""
        address = self.socket.getsockname()
        is_abstract = self.is_unix and isinstance(address, bytes) and address.startswith(b"\0")
        return f"@{os.fsdecode(address[1:])}" if is_abstract else ""

    @property
    def address(self) -> str:
        """For people: unix:/run/upperd/upperd.sock, unix:@upperd, tcp:127.0.0.1:9999; unix-dgram: and udp: likewise."""
        address = self.socket.getsockname()
        if not self.is_unix:
            host = f"[{address[0]}]" if self.socket.family == socket.AF_INET6 else address[0]
            return f"{'udp' if self.is_datagram else 'tcp'}:{host}:{address[1]}"
        return f"{'unix-dgram' if self.is_datagram else 'unix'}:{self.abstract or os.fsdecode(address)}"

    def describe(self, whose: str = "") -> str:
        """The address, where it comes from, and for whom alone it is."""
        origin = f"activated as {self.name}" if self.activated else "bound"
        return f"{self.address} ({origin}{whose})"

    def store_name(self) -> str:
        """What the manager's descriptor store is to call it. Raises OSError where the path is gone."""
        if self.abstract:
            return store.abstract_name(self.socket.getsockname()[1:], is_datagram=self.is_datagram)
        if self.is_unix:
            return store.path_name(self.path)
        return store.address_name(*self.socket.getsockname()[:2], is_datagram=self.is_datagram)

    def own(self, lock: int) -> None:
        """The path is ours, by this lock."""
        self._lock = lock
        status = os.lstat(self.path)
        self._inode = (status.st_dev, status.st_ino)

    def unlink(self) -> None:
        """Remove the path that we bound, if it still is what we bound, and does not outlive us."""
        if self._inode is None or self.is_stored:
            return
        try:
            status = os.lstat(self.path)
            if (status.st_dev, status.st_ino) == self._inode:
                os.unlink(self.path)
        except OSError:
            pass  # it is gone, or its folder is: nothing of ours is left
        self._inode = None

    @property
    def can_be_found(self) -> bool:
        """Whether newcomers still get into its queue: its path was not removed, its address not closed to them."""
        return not self.turns_away and (not self.path or self.is_stored or self._inode is not None)

    def end(self) -> None:
        """Hold it no more, once its queue is served: newcomers are refused, instead of waiting for our end in vain.

        Its descriptor stays, for /dev/null: a child forgets its listener by that number (see child.py).
        """
        if self.turns_away:
            try:
                null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            except OSError:
                return  # then it ends with us
            os.dup2(null, self.socket.fileno(), inheritable=False)
            os.close(null)

    def close(self) -> None:
        """Close the socket and let go of the lock."""
        self.socket.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


# Activated


def adopt(descriptor: int, name: str) -> Listener:
    """Take a socket that the manager passed, a socket unit's or one from the store. Raises ActivationError."""
    what = f"descriptor {descriptor} ({name}) passed by the service manager"
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError as error:
        raise ActivationError(f"{what} is not open: {error.strerror}") from None
    if not stat.S_ISSOCK(mode):
        raise ActivationError(f"{what} is not a socket")
    os.set_inheritable(descriptor, False)
    sock = socket.socket(fileno=descriptor)
    complaint = _complaint(sock)
    if complaint:
        sock.detach()
        raise ActivationError(f"{what} {complaint}")
    sock.setblocking(True)
    listener = Listener(sock, name, activated=not store.is_stored(name))
    listener.is_stored = not listener.activated
    return listener


def _complaint(sock: socket.socket) -> str:
    if sock.family not in _FAMILIES:
        return f"is of address family {int(sock.family)}, neither Unix nor TCP"
    if sock.type == _DATAGRAM:
        return _complaint_about_datagrams(sock)
    if sock.type != _STREAM:
        return f"is not a stream socket (ListenStream=) but {sock.type.name}, nor one for datagrams (ListenDatagram=)"
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "does not listen: upperd takes listening sockets (Accept=no); for a connection, start it with --inetd"
    return ""


def _complaint_about_datagrams(sock: socket.socket) -> str:
    if sock.family != socket.AF_UNIX and sock.proto != socket.IPPROTO_UDP:
        return f"is for datagrams of protocol {sock.proto}, not UDP"
    try:
        sock.getpeername()
    except OSError:
        pass
    else:
        return "is connected: it takes datagrams of one peer alone"
    address = sock.getsockname()
    is_bound = bool(address) if sock.family == socket.AF_UNIX else address[1] != 0
    return "" if is_bound else "is not bound: nobody can send it a datagram"


# Bound


def bind_unix(
    path: str,
    *,
    kind: socket.SocketKind = _STREAM,
    permissions: Permissions | None = None,
    default_folder_of: int | None = None,
    stored: MutableMapping[str, Listener] | None = None,
) -> Listener:
    """Listen at `path`: by the one of `stored` that is bound to it, else anew. Raises ListenerError.

    `kind`: SOCK_STREAM or SOCK_DGRAM. `default_folder_of`: make the folder, for this uid.
    """
    length = len(os.fsencode(path))
    if length > paths.MAX_PATH:
        what = f"{path} has {length} bytes, a socket's path may have {paths.MAX_PATH}"
        raise ListenerError(
            f"{what}: choose a shorter one with {_option(kind)}",
            errno.ENAMETOOLONG,
            may_fall_back=True,
        )
    try:
        if default_folder_of is not None:
            paths.make_default_folder(path, default_folder_of)
        _refuse_other_file(path, kind)  # before a lock is made beside it
        lock = locks.take(paths.lock_of(path))
    except paths.FolderError as error:
        raise ListenerError(str(error), errno.EACCES, may_fall_back=True) from None
    except locks.LockedError as error:
        raise AlreadyRunningError(path, error.pid) from None
    except OSError as error:
        raise _cannot_bind(path, kind, error) from None
    try:
        listener = _restored(path, kind, stored or {}) or _bind(path, kind)
        listener.own(lock)
        _listen(listener, permissions or Permissions())
        return listener
    except OSError as error:
        os.close(lock)
        raise _cannot_bind(path, kind, error) from None
    except BaseException:
        os.close(lock)
        raise


def bind_abstract(
    name: str, stored: MutableMapping[str, Listener] | None = None, *, kind: socket.SocketKind = _STREAM
) -> Listener:
    """Listen at the abstract name @NAME: by the one of `stored` that is bound to it, else anew. Raises ListenerError.

    Nobody but the guard says who may connect (see guard.py).
    """
    address = paths.address_of(name)
    stored_name = store.abstract_name(os.fsencode(address[1:]), is_datagram=kind == _DATAGRAM)
    listener = (stored or {}).pop(stored_name, None)
    if listener is None:
        sock = socket.socket(socket.AF_UNIX, kind)
        try:
            if kind == _DATAGRAM:
                prepare_for_datagrams(sock)
            sock.bind(address)
        except OSError as error:
            sock.close()
            if error.errno == errno.EADDRINUSE:
                raise _name_is_taken(name, kind) from None
            raise ListenerError(f"cannot listen on {name}: {error.strerror}", error.errno) from None
        listener = Listener(sock)
    if kind == _STREAM:
        listener.socket.listen(BACKLOG)
    return listener


def _name_is_taken(name: str, kind: socket.SocketKind) -> AlreadyRunningError:
    """Anybody may have taken it: say who (unix(7), SO_PEERCRED)."""
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        if kind == _DATAGRAM or probe.connect_ex(paths.address_of(name)) != 0:
            return AlreadyRunningError(name, 0)  # nobody knows; or it does not listen yet, or its queue is full
        pid, uid = _peer(probe)
        return AlreadyRunningError(name, pid, f" of uid {uid}")


def _option(kind: socket.SocketKind) -> str:
    return "--datagram" if kind == _DATAGRAM else "--socket"


def _restored(path: str, kind: socket.SocketKind, stored: MutableMapping[str, Listener]) -> Listener | None:
    try:
        name = store.path_name(path)
    except OSError:
        return None  # nothing is there
    return stored.pop(name) if name in stored and stored[name].socket.type == kind else None


def _bind(path: str, kind: socket.SocketKind) -> Listener:
    _clear_stale(path, kind)
    sock = socket.socket(socket.AF_UNIX, kind)
    if kind == _DATAGRAM:
        prepare_for_datagrams(sock)
    try:
        mask = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(mask)
    except OSError:
        sock.close()
        raise
    return Listener(sock)


def prepare_for_datagrams(sock: socket.socket) -> None:
    """Buffers as large as the kernel lets us have them (socket(7)), and, before the first one comes, who sends it."""
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, 2**30)
    if sock.family == socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)


def _listen(listener: Listener, permissions: Permissions) -> None:
    """Before this a connect() is refused, and a datagram of anybody but us, so nobody comes in by other permissions."""
    path = listener.path
    try:
        permissions.set(path)
    except OSError as error:
        listener.unlink()
        listener.socket.close()  # the lock is closed by who has taken it
        who = f"owner {permissions.owner} and group {permissions.group}".replace(" -1", " as it is")
        cure = ": only root may choose an owner, and others a group that they are in" * (error.errno == errno.EPERM)
        raise ListenerError(
            f"cannot give {path} its permissions ({who}): {error.strerror}{cure}",
            error.errno,
        ) from None
    if not listener.is_datagram:
        listener.socket.listen(BACKLOG)


def _refuse_other_file(path: str, kind: socket.SocketKind) -> bool:
    """Whether a socket is at the path. Raises ListenerError: something else is."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _cannot_bind(path, kind, error) from None
    if not stat.S_ISSOCK(status.st_mode):
        what = f"{path} is there and is not a socket"
        raise ListenerError(f"{what}: choose another path with {_option(kind)}", errno.EEXIST)
    return True


def _clear_stale(path: str, kind: socket.SocketKind) -> None:
    """Remove a socket that nobody listens on; refuse anything else that is there."""
    if not _refuse_other_file(path, kind):
        return
    with socket.socket(socket.AF_UNIX, kind) as probe:
        probe.setblocking(False)
        failure = probe.connect_ex(path)
        if failure == 0:
            raise AlreadyRunningError(path, _peer(probe)[0])
        if failure == errno.EAGAIN:  # its backlog is full
            raise AlreadyRunningError(path, 0)
    if failure != errno.ECONNREFUSED:
        reason = "is a socket of another type" if failure == errno.EPROTOTYPE else os.strerror(failure)
        raise ListenerError(f"{path}: {reason}: remove it, or choose another path with {_option(kind)}", failure)
    try:
        os.unlink(path)
    except OSError as error:
        raise _cannot_bind(path, kind, error) from None


def _peer(probe: socket.socket) -> tuple[int, int]:
    """The pid and the uid of who listens."""
    credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    return int(memoryview(credentials).cast("i")[0]), int(memoryview(credentials).cast("I")[1])


def _cannot_bind(path: str, kind: socket.SocketKind, error: OSError) -> ListenerError:
    cure = {
        errno.ENOENT: f": make the folder {os.path.dirname(path) or '.'} first",
        errno.EACCES: f": start upperd as a user who may write there, or choose another path with {_option(kind)}",
        errno.EROFS: f": mount a folder that can be written to there, or choose another path with {_option(kind)}",
    }.get(error.errno or 0, "")
    return ListenerError(f"cannot listen on {path}: {error.strerror}{cure}", error.errno, may_fall_back=True)
