"""Replaces files atomically: a reader finds the old content or the new. Devices and pipes are written to in place."""

from __future__ import annotations

import errno
import fcntl
import os
import stat


def replace(path: str, data: bytes, mode: int = 0o644) -> None:
    """Make `data` the content of the file at `path`, by rename(2). Raises OSError, and then leaves no file behind."""
    os.close(replace_locked(path, data, mode))


def replace_locked(path: str, data: bytes, mode: int = 0o644) -> int:
    """As `replace`; return a descriptor that holds a record lock on the new file (locks.py).

    The temporary file's name begins with a dot and has no extension, so a program that collects files by extension
    ignores it. The name is random, so a file that a killed process left behind does not block later calls.
    """
    temporary = os.path.join(os.path.dirname(path), f".upperd-{os.urandom(8).hex()}")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        os.fchmod(descriptor, mode)
        _write(descriptor, data)
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(temporary, path)
        return descriptor
    except BaseException:
        os.close(descriptor)
        os.unlink(temporary)
        raise


def put(path: str, data: bytes) -> None:
    """Replace a regular file, or write to a device or a pipe. Raises OSError.

    A symbolic link is only followed if we or root own it: another owner could choose which file we replace.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    if stat.S_ISREG(mode):
        replace(_target_of(path), data)
        return
    # Opening a pipe without a reader must fail (ENXIO), not wait for one.
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.set_blocking(descriptor, True)
        _write(descriptor, data)
    finally:
        os.close(descriptor)


def _write(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _target_of(path: str) -> str:
    while os.path.islink(path):
        owner = os.lstat(path).st_uid
        if owner not in (0, os.geteuid()):
            raise PermissionError(errno.EPERM, f"{path} is a link owned by uid {owner}, and is not followed")
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    return path
