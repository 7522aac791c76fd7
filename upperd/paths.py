"""Where things lie when nobody says where: the socket, and beside it the scoreboard and the locks.

The daemon and its clients look in the same places, so they ask the same file. Nothing here opens anything but folders.
"""

from __future__ import annotations

import os
import stat

SOCKET_NAME = "upperd.sock"
SYSTEM_SOCKET = f"/run/upperd/{SOCKET_NAME}"
"""Of the system's daemon."""
FALLBACK_TCP = "localhost:9999"
"""Where the daemon listens when it cannot have its path."""
MAX_PATH = 107
"""Bytes that a socket's path may have (unix(7), sun_path less its terminating zero)."""


class FolderError(Exception):
    """A folder cannot be used. The text says why, and what to do."""


def daemon_socket(environ: dict[str, str], uid: int) -> str:
    """The path at which a daemon of this user binds its socket."""
    runtime = environ.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if runtime:
        return f"{runtime}/{SOCKET_NAME}"
    if uid == 0:
        return SYSTEM_SOCKET
    return _user_sockets(environ, uid)[0]


def client_sockets(environ: dict[str, str], uid: int) -> list[str]:
    """The paths at which a client of this user looks for a daemon: its own first, then the system's."""
    own = [] if uid == 0 else _user_sockets(environ, uid)
    return [*own, SYSTEM_SOCKET]


def trusted_sockets(environ: dict[str, str], uid: int) -> list[str]:
    """Those of them that nobody else can have prepared: in a folder of the user alone, or the system's, root's."""
    return [
        path
        for path in client_sockets(environ, uid)
        if path == SYSTEM_SOCKET or is_own_folder(folder := os.path.dirname(path), uid, private=_is_in_tmp(folder))
    ]


def _is_in_tmp(folder: str) -> bool:
    return folder.startswith("/tmp/")


def scoreboard_of(socket_path: str) -> str:
    """The scoreboard of the daemon with this socket: beside it, and told from that of another in the same folder."""
    folder, name = os.path.split(socket_path)
    return os.path.join(folder, "scoreboard" if name == SOCKET_NAME else f"{name}.scoreboard")


def lock_of(path: str) -> str:
    """The file whose lock says that a daemon owns `path` (a socket's, or a scoreboard's)."""
    return f"{path}.lock"


def make_default_folder(socket_path: str, uid: int) -> None:
    """Make the folder of a default path where it is missing; refuse one that another user prepared.

    Raises FolderError, or OSError where it cannot be made.
    """
    folder = os.path.dirname(socket_path)
    shared = socket_path == SYSTEM_SOCKET
    try:
        os.mkdir(folder, 0o755 if shared else 0o700)
    except FileExistsError:
        pass
    except FileNotFoundError:
        raise FolderError(f"{os.path.dirname(folder)} does not exist; name another path with --socket") from None
    # In /tmp anybody may have made it first.
    if not is_own_folder(folder, uid, private=_is_in_tmp(folder)):
        raise FolderError(f"{folder} is not a folder of uid {uid} alone; name another path with --socket")


def is_own_folder(folder: str, uid: int, *, private: bool) -> bool:
    """Whether `folder` is a true folder of `uid`, into which nobody else can write (or even look, if `private`)."""
    try:
        status = os.lstat(folder)
    except OSError:
        return False
    closed = 0o077 if private else 0o022
    return stat.S_ISDIR(status.st_mode) and status.st_uid == uid and not status.st_mode & closed


def _user_sockets(environ: dict[str, str], uid: int) -> list[str]:
    """Of a user's own daemon: in the runtime folder of the session, else in a folder of the user's in /tmp."""
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    session = [f"{runtime}/upperd/{SOCKET_NAME}"] if runtime.startswith("/") else []
    return [*session, f"/tmp/upperd-{uid}/{SOCKET_NAME}"]
