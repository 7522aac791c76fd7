"""The file that tells our pid to init scripts.

Nothing is written through a link, no file of another kind is overwritten, and a reader sees a whole pid or none. At the
end it is removed if it still tells our pid. Whether a daemon lives is not told by it but by the locks (locks.py), so a
file that was left behind does no harm.
"""

from __future__ import annotations

import errno
import os
import stat

from upperd.base import atomic
from upperd.service.listeners import StartError

_LONGEST = 32
"""Bytes: more than any pid has."""


class PidFileError(StartError):
    """The file cannot be written."""


class PidFile:
    """Our pid file at `path`; empty: there is none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._is_written = False

    def write(self) -> None:
        """Write our pid. Raises PidFileError."""
        if not self._path:
            return
        folder, name = os.path.split(self._path)
        try:
            self._refuse_other_file()
            try:
                os.unlink(os.path.join(folder, f".{name}.{os.getpid()}"))  # of a daemon of our pid, killed in `replace`
            except FileNotFoundError:
                pass
            atomic.replace(self._path, f"{os.getpid()}\n".encode())
        except OSError as error:
            text = f"cannot write the pid file {self._path}: {error.strerror}; choose another with --pid-file"
            raise PidFileError(text, error.errno) from None
        self._is_written = True

    def remove(self) -> None:
        """Remove it, if it is ours."""
        try:
            if self._is_written and self._read() == str(os.getpid()).encode():
                os.unlink(self._path)
        except OSError:
            pass  # it is gone, or its folder is

    def _refuse_other_file(self) -> None:
        """Only nothing, a link, and the pid of an ended process may be replaced. Raises PidFileError, OSError."""
        try:
            mode = os.lstat(self._path).st_mode
        except FileNotFoundError:
            return
        if stat.S_ISLNK(mode):
            return
        pid = (self._read() or b"0") if stat.S_ISREG(mode) else b""
        if not pid.isdigit():
            text = f"{self._path} is there and is not a pid file: remove it, or choose another with --pid-file"
            raise PidFileError(text, errno.EEXIST)
        if _is_upperd(int(pid)):
            what = f"{self._path} has the pid of a daemon that runs ({int(pid)})"
            raise PidFileError(f"{what}: choose another with --pid-file", errno.EEXIST)

    def _read(self) -> bytes:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.read(descriptor, _LONGEST).strip()
        finally:
            os.close(descriptor)


def _is_upperd(pid: int) -> bool:
    """Whether another process of this pid lives and has our name (proc(5), stat; Z is a zombie)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            name, _, rest = file.read().rpartition(b")")
        return pid != os.getpid() and name.endswith(b"(upperd") and not rest.startswith(b" Z")
    except OSError:
        return False
