"""The pid file, for init scripts.

Writing never follows a link and never overwrites a file of another kind; a reader sees a whole pid or none. At exit the
file is removed if it still has our pid. We hold a lock on it (locks.py), by which another daemon knows that we run. It
does not go by the pid, which another process may have by now. So a stale file does no harm.
"""

from __future__ import annotations

import errno
import os
import stat

from upperd.base import atomic, locks
from upperd.service.listeners import StartError

_LONGEST = 32
"""Bytes to read at most: more than any pid has."""


class PidFileError(StartError):
    """The file cannot be written."""


class PidFile:
    """The pid file at `path`; empty: none is written."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = -1
        """The descriptor that holds the lock; -1: the file is not written."""

    def write(self) -> None:
        """Write our pid. Raises PidFileError."""
        if not self._path:
            return
        try:
            self._refuse_other_file()
            self._lock = atomic.replace_locked(self._path, f"{os.getpid()}\n".encode())
        except OSError as error:
            text = f"cannot write the pid file {self._path}: {error.strerror}; choose another with --pid-file"
            raise PidFileError(text, error.errno) from None

    def keep(self) -> None:
        """Write the file again if it was removed. Raises PidFileError."""
        if self._lock >= 0 and not os.path.lexists(self._path):
            os.close(self._lock)
            self._lock = -1
            self.write()

    def remove(self) -> None:
        """Remove the file if it still has our pid."""
        try:
            if self._lock >= 0 and self._read() == str(os.getpid()).encode():
                os.unlink(self._path)
        except OSError:
            pass  # the file is gone, or its folder is

    def _refuse_other_file(self) -> None:
        """Refuse to replace anything but a link or an unlocked pid file. Raises PidFileError, OSError."""
        try:
            mode = os.lstat(self._path).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISLNK(mode):
            return
        pid = (self._read() or b"0") if stat.S_ISREG(mode) else b""
        if not pid.isdigit():
            text = f"{self._path} exists and is not a pid file: remove it, or choose another with --pid-file"
            raise PidFileError(text, errno.EEXIST)
        if locks.holder(self._path):
            what = f"{self._path} holds the pid of a running daemon ({int(pid)})"
            raise PidFileError(f"{what}: choose another with --pid-file", errno.EEXIST)

    def _read(self) -> bytes:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(descriptor, _LONGEST).strip()
        finally:
            os.close(descriptor)
