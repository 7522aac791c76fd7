"""File locks, which keep two daemons apart and show that a daemon is alive.

They are record locks (fcntl(2), F_SETLK). Children do not inherit them, so they end with the parent. Only a process
that may write to the file can take one, so no other user can fake a live daemon. F_GETLK returns the holder's pid;
across pid namespaces it only shows that there is a holder.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct

_FLOCK = "@hhqqi4x"  # struct flock: l_type, l_whence, l_start, l_len, l_pid


class LockedError(Exception):
    """Another process holds the lock: `pid`; 0 if it has just released it, -1 in another pid namespace."""

    def __init__(self, path: str, pid: int) -> None:
        super().__init__(f"{path} is locked by process {pid}")
        self.path, self.pid = path, pid


def take(path: str) -> int:
    """Lock the file `path`, creating it if necessary; return the descriptor that holds the lock.

    Raises LockedError or OSError. The lock ends when *any* descriptor of the file is closed in this process.
    """
    while True:
        descriptor = _open(path)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = _holder(descriptor) if error.errno in (errno.EAGAIN, errno.EACCES) else None
            os.close(descriptor)
            if pid is None:
                raise
            raise LockedError(path, pid) from None
        if is_at(path, descriptor):
            return descriptor
        os.close(descriptor)  # the previous holder has removed the file in the meantime


def release(path: str, descriptor: int) -> None:
    """Release a lock and remove its file."""
    try:
        if is_at(path, descriptor):
            os.unlink(path)
    except OSError:
        pass  # the folder is gone, or we may no longer write to it
    os.close(descriptor)


def is_at(path: str, descriptor: int) -> bool:
    """Whether the file at `path` is the one that the descriptor refers to."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))


def _open(path: str) -> int:
    """Open the file without blocking. Refuse one that another user may have planted."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
        os.fchmod(descriptor, 0o600)  # whatever the umask is
        return descriptor
    except FileExistsError:
        pass
    # Check before opening for writing, and again afterwards: the file may have been replaced in between.
    _refuse_planted(path, os.lstat(path))
    try:
        descriptor = os.open(path, flags)
    except PermissionError:
        _make_ours(path)
        descriptor = os.open(path, flags)
    try:
        _refuse_planted(path, os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _make_ours(path: str) -> None:
    """Set the mode of a lock file that was made under a umask that masks the owner's permissions."""
    descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _refuse_planted(path, os.fstat(descriptor))
        os.chmod(f"/proc/self/fd/{descriptor}", 0o600)
    finally:
        os.close(descriptor)


def _refuse_planted(path: str, status: os.stat_result) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise OSError(errno.ELOOP, f"its lock {path} is a symbolic link: remove it")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EEXIST, f"its lock {path} is not a file: remove it")
    if status.st_uid != os.geteuid() or status.st_nlink > 1:
        raise OSError(errno.EPERM, f"its lock {path} is not owned by uid {os.geteuid()}, or has two links: remove it")


def holder(path: str) -> int:
    """The pid of the process that holds the lock of `path`; 0: none, -1: in another pid namespace (pid_namespaces(7)).

    Raises OSError (EACCES: we may not read it). A process that may only read the file can neither hold nor hide a lock.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return _holder(descriptor)
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> int:
    asked = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    return 0 if kind == fcntl.F_UNLCK else int(pid) or -1
