"""The default paths of the socket, and of the scoreboard and the locks beside it.

The daemon and its clients look in the same places, so both use this module. It opens no file; it only makes folders.
"""

from __future__ import annotations

import os
import stat

NAME = "upperd"
"""The default name of a daemon."""
SOCKET_NAME = f"{NAME}.sock"
SYSTEM_SOCKET = f"/run/{NAME}/{SOCKET_NAME}"
"""The socket of the system's daemon."""
STATE = "state"
"""The folder of the daemon's user, below the folder of the system's socket. The latter belongs to root, so no child can
replace the socket that systemd has bound."""
LONGEST_NAME = 48
FALLBACK_TCP = "localhost:9999"
"""Where the daemon listens if it cannot use its path."""
MAX_PATH = 107
"""Bytes in a socket's path (unix(7), sun_path without its terminating zero), or in an abstract socket's name."""
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
_ESCAPED = str.maketrans({"%": "%%", "/": "%-", "\n": "%n", "\0": "%0"})
"""Escaping at most doubles the length, so that an escaped name always fits into a file name."""


class FolderError(Exception):
    """A folder cannot be used. The text says why and what to do."""


def is_name(name: str) -> bool:
    """Whether `name` is a valid daemon name: PROGRAM, or PROGRAM@INSTANCE like its unit (systemd.unit(5))."""
    return 0 < len(name) <= LONGEST_NAME and all(
        part.isascii() and part[:1].isalnum() and not part.strip(_LETTERS) for part in name.split("@", 1)
    )


def program_of(name: str) -> str:
    """The program in the name of a daemon."""
    return name.partition("@")[0]


def _place(name: str, root: str, suffix: str = "") -> str:
    """The path below `root` of the socket of the daemon `name`."""
    return f"{root}/{name.replace('@', '-')}{suffix}/{program_of(name)}.sock"


def runtime_folder(environ: dict[str, str]) -> str:
    """The folder that the service manager has made for the daemon (systemd.exec(5), RuntimeDirectory=); empty: none."""
    return environ.get("RUNTIME_DIRECTORY", "").split(":")[0]


def daemon_socket(environ: dict[str, str], uid: int, name: str = NAME) -> str:
    """The path at which this user's daemon `name` binds its socket."""
    if runtime := runtime_folder(environ):
        return f"{runtime}/{program_of(name)}.sock"
    return client_sockets(environ, uid, name)[0]


def client_sockets(environ: dict[str, str], uid: int, name: str = NAME) -> list[str]:
    """The paths at which this user's client looks for the daemon `name`: the user's own first, then the system's."""
    system = _place(name, "/run")
    places = [system, f"{os.path.dirname(system)}/{STATE}/{os.path.basename(system)}"]
    if uid == 0:
        return places
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    session = [_place(name, runtime)] if runtime.startswith("/") else []
    return [*session, _place(name, "/tmp", f"-{uid}"), *places]


def trusted_sockets(environ: dict[str, str], uid: int, name: str = NAME) -> list[str]:
    """The client sockets that no other user can have planted: in a folder of the user alone, or in the system's."""
    return [
        path
        for path in client_sockets(environ, uid, name)
        if is_of_system(path) or is_own_folder(os.path.dirname(path), uid)
    ]


def is_of_system(path: str) -> bool:
    """Whether the path lies in a folder that only root can have made."""
    return os.path.dirname(_folder_of(path)) == "/run"


def _folder_of(path: str) -> str:
    """The folder that is named after the daemon, from the path of its socket or scoreboard."""
    folder = os.path.dirname(path)
    is_state = os.path.basename(folder) == STATE and os.path.dirname(os.path.dirname(folder)) == "/run"
    return os.path.dirname(folder) if is_state else folder


def without_state(path: str) -> str:
    """The path without STATE: a file in STATE belongs to the daemon whose socket lies one folder up."""
    return os.path.join(_folder_of(path), os.path.basename(path))


def named_socket(environ: dict[str, str], uid: int, name: str) -> str:
    """The socket of the daemon `name`: PROGRAM@INSTANCE, the INSTANCE of an upperd@INSTANCE, or another program.

    Of several candidates, the first that exists, else the first.
    """
    names = [name] if "@" in name or name == NAME else [f"{NAME}@{name}", name]
    found = [path for each in names for path in trusted_sockets(environ, uid, each)]
    return next(filter(os.path.exists, found), found[0])


def name_of(path: str) -> str:
    """The name of the daemon with this socket or scoreboard, from the name of its folder; NAME if that is no name."""
    root, folder = os.path.split(_folder_of(path))
    if root == "/tmp":
        folder = folder.rpartition("-")[0]
    name = folder.replace(f"{NAME}-", f"{NAME}@", 1) if folder.startswith(f"{NAME}-") else folder
    return name if is_name(name) else NAME


def is_abstract(socket: str) -> bool:
    """Whether this is an abstract socket (unix(7)), written @NAME as in ss(8) and systemd.socket(5)."""
    return socket.startswith("@")


def complaint_about(socket: str) -> str:
    """What is wrong with the name of an abstract socket; empty if it is valid, or a path."""
    if not is_abstract(socket):
        return ""
    length = len(os.fsencode(socket)) - 1
    if not length:
        return "an abstract socket needs a name, such as @upperd"
    if length > MAX_PATH:
        return f"the name of an abstract socket has {length} bytes, and may have at most {MAX_PATH}"
    return ""


def address_of(socket: str) -> str:
    """The address to bind or connect to: a path unchanged, an abstract name with a leading zero byte."""
    return f"\0{socket[1:]}" if is_abstract(socket) else socket


def stand_in(socket: str, default: str) -> str:
    """The path beside which a daemon's files lie: its socket, or for an abstract one a path in `default`'s folder."""
    if not is_abstract(socket):
        return socket
    return os.path.join(os.path.dirname(default), f"@{socket[1:].translate(_ESCAPED)}")


def scoreboard_of(socket_path: str, runtime: str = "") -> str:
    """The scoreboard of the daemon with this socket, in the socket's folder. Each socket in a folder has its own.

    `runtime`: see `runtime_folder`. If that is the socket folder's STATE, the scoreboard lies there.
    """
    folder, name = os.path.split(socket_path)
    if runtime == os.path.join(folder, STATE):
        folder = runtime
    return os.path.join(folder, "scoreboard" if name == SOCKET_NAME else f"{name}.scoreboard")


def find_scoreboard(socket_path: str) -> str:
    """The scoreboard for a reader, which does not know the runtime folder: the newer one of the two candidates."""
    state = os.path.join(os.path.dirname(socket_path), STATE)
    places = [scoreboard_of(socket_path), scoreboard_of(socket_path, state)]
    found = [(_made_at(place), place) for place in places]
    return max(found)[1] if any(when for when, _ in found) else places[os.path.isdir(state)]


def _made_at(path: str) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return 0.0


def lock_of(path: str) -> str:
    """The lock file of `path`, a socket or a scoreboard. A lock on the file means that a daemon owns `path`."""
    return f"{path}.lock"


def make_default_folder(socket_path: str, uid: int) -> None:
    """Make the folder of a default path if it is missing; refuse one that another user may have planted.

    Raises FolderError, or OSError if it cannot be made.
    """
    folder = os.path.dirname(socket_path)
    try:
        os.mkdir(folder, 0o755 if is_of_system(socket_path) else 0o700)
    except FileExistsError:
        pass
    except FileNotFoundError:
        raise FolderError(f"{os.path.dirname(folder)} does not exist; name another path with --socket") from None
    if not is_own_folder(folder, uid):
        raise FolderError(f"{folder} is not owned by uid {uid}, or is open to others; name another path with --socket")


def is_own_folder(folder: str, uid: int) -> bool:
    """Whether `folder` is a folder of `uid`, no symbolic link, into which no other user can write.

    In /tmp, where another user may have made it first, other users must not have any access.
    """
    try:
        status = os.lstat(folder)
    except OSError:
        return False
    closed = 0o077 if folder.startswith("/tmp/") else 0o022
    return stat.S_ISDIR(status.st_mode) and status.st_uid == uid and not status.st_mode & closed
