"""Writing a file so that a reader finds the old one or the new one, and never a part."""

from __future__ import annotations

import os


def replace(path: str, data: bytes, mode: int = 0o644) -> None:
    """Make `data` the content of the file at `path`, by rename(2). Raises OSError, and leaves nothing behind then.

    The temporary file's name begins with a dot and has no ending: a collector of files by their ending passes it over.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        with open(descriptor, "wb", buffering=0) as file:
            os.fchmod(descriptor, mode)
            rest = memoryview(data)
            while rest:
                rest = rest[file.write(rest) :]
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
