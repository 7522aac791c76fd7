"""The file that tells our pid to init scripts.

The law: nothing is written through a link, no file of another kind is overwritten, and a reader sees a whole pid or
none: it is written under another name, and renamed. It is removed at the end if it still tells our pid. Whether a
daemon lives is not told by it but by the locks (locks.py), so one that was left behind does no harm.
"""

from __future__ import annotations

import errno
import os
import stat

_MODE = 0o644
_LONGEST = 32
"""Bytes: more than any pid has."""


class PidFileError(Exception):
    """The file cannot be written. The text says why, and what to do; `errno` is for the manager."""

    def __init__(self, text: str, number: int | None = errno.EEXIST) -> None:
        super().__init__(text)
        self.errno = number or errno.EEXIST


def _is_upperd(pid: bytes) -> bool:
    """Whether another process of this pid lives and has our name (proc(5), stat; Z is a zombie)."""
    if not pid.isdigit() or int(pid) == os.getpid():
        return False
    try:
        with open(f"/proc/{int(pid)}/stat", "rb") as file:
            name, _, rest = file.read().rpartition(b")")
        return name.endswith(b"(upperd") and not rest.startswith(b" Z")
    except OSError:
        return False


class PidFile:
    """Our pid file at `path`; empty: there is none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._is_written = False

    def write(self) -> None:
        """Write our pid. Raises PidFileError."""
        if not self._path:
            return
        try:
            if not self._may_replace():
                raise PidFileError(
                    f"{self._path} is there and is not a pid file: remove it, or choose another with --pid-file"
                )
            self._replace()
        except OSError as error:
            raise PidFileError(
                f"cannot write the pid file {self._path}: {error.strerror}; choose another with --pid-file", error.errno
            ) from None
        self._is_written = True

    def remove(self) -> None:
        """Remove it, if it is ours."""
        try:
            if self._is_written and self._read() == str(os.getpid()).encode():
                os.unlink(self._path)
        except OSError:
            pass  # it is gone, or its folder is
        self._is_written = False

    def _may_replace(self) -> bool:
        """Whether there is nothing at the path, a link (which is replaced, not followed), or what may hold a pid."""
        try:
            mode = os.lstat(self._path).st_mode
        except FileNotFoundError:
            return True
        if stat.S_ISLNK(mode):
            return True
        if not stat.S_ISREG(mode):
            return False
        pid = self._read() or b"0"
        if _is_upperd(pid):
            raise PidFileError(
                f"{self._path} has the pid of a daemon that runs ({int(pid)}): choose another with --pid-file"
            )
        return pid.isdigit()

    def _read(self) -> bytes:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(descriptor, _LONGEST).strip()
        finally:
            os.close(descriptor)

    def _replace(self) -> None:
        folder, name = os.path.split(self._path)
        new = os.path.join(folder, f".{name}.{os.getpid()}")
        try:
            os.unlink(new)  # of one that was killed here, and had our pid
        except FileNotFoundError:
            pass
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE)
        try:
            os.fchmod(descriptor, _MODE)
            os.write(descriptor, f"{os.getpid()}\n".encode())
            os.rename(new, self._path)
        except OSError:
            os.unlink(new)
            raise
        finally:
            os.close(descriptor)
