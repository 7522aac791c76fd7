"""Where things lie unless an option says otherwise: the socket, and beside it the scoreboard and the locks.

The daemon and its clients look in the same places, so they ask the same file. Nothing here opens anything but folders.
"""

from __future__ import annotations

import os
import stat

NAME = "upperd"
"""What a daemon is called unless an option says otherwise."""
SOCKET_NAME = f"{NAME}.sock"
SYSTEM_SOCKET = f"/run/{NAME}/{SOCKET_NAME}"
"""Of the system's daemon."""
STATE = "state"
"""The folder, below that of the system's socket, which belongs to the daemon's user: in root's own folder no child can
put another socket in the place of the one that systemd has bound."""
LONGEST_NAME = 48
FALLBACK_TCP = "localhost:9999"
"""Where the daemon listens when it cannot have its path."""
MAX_PATH = 107
"""Bytes that a socket's path may have (unix(7), sun_path less its terminating zero), or an abstract socket's name."""
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
_ESCAPED = str.maketrans({"%": "%%", "/": "%-", "\n": "%n", "\0": "%0"})
"""No longer than twice the name, so that the name of a file has room for it."""


class FolderError(Exception):
    """A folder cannot be used. The text says why, and what to do."""


def is_name(name: str) -> bool:
    """Whether a daemon may be called so: PROGRAM, or PROGRAM@INSTANCE as its unit is (systemd.unit(5))."""
    return 0 < len(name) <= LONGEST_NAME and all(
        part.isascii() and part[:1].isalnum() and not part.strip(_LETTERS) for part in name.split("@", 1)
    )


def program_of(name: str) -> str:
    """The program of a daemon that is called so."""
    return name.partition("@")[0]


def _place(name: str, root: str, suffix: str = "") -> str:
    """Where below `root` the socket of a daemon lies that is called so."""
    return f"{root}/{name.replace('@', '-')}{suffix}/{program_of(name)}.sock"


def runtime_folder(environ: dict[str, str]) -> str:
    """The folder that the manager has made for the daemon (systemd.exec(5), RuntimeDirectory=); empty: none."""
    return environ.get("RUNTIME_DIRECTORY", "").split(":")[0]


def daemon_socket(environ: dict[str, str], uid: int, name: str = NAME) -> str:
    """The path at which a daemon of this user, and of this name, binds its socket."""
    if runtime := runtime_folder(environ):
        return f"{runtime}/{program_of(name)}.sock"
    return client_sockets(environ, uid, name)[0]


def client_sockets(environ: dict[str, str], uid: int, name: str = NAME) -> list[str]:
    """The paths at which a client of this user looks for a daemon: its own first, then the system's."""
    system = _place(name, "/run")
    places = [system, f"{os.path.dirname(system)}/{STATE}/{os.path.basename(system)}"]
    if uid == 0:
        return places
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    session = [_place(name, runtime)] if runtime.startswith("/") else []
    return [*session, _place(name, "/tmp", f"-{uid}"), *places]


def trusted_sockets(environ: dict[str, str], uid: int, name: str = NAME) -> list[str]:
    """Those of them that no other user can have prepared: in a folder of the user alone, or the system's, root's."""
    return [
        path
        for path in client_sockets(environ, uid, name)
        if is_of_system(path) or is_own_folder(os.path.dirname(path), uid)
    ]


def is_of_system(path: str) -> bool:
    """Whether it lies in a folder that only root can have made."""
    return os.path.dirname(_folder_of(path)) == "/run"


def _folder_of(path: str) -> str:
    """The folder that is named after the daemon."""
    folder = os.path.dirname(path)
    is_state = os.path.basename(folder) == STATE and os.path.dirname(os.path.dirname(folder)) == "/run"
    return os.path.dirname(folder) if is_state else folder


def without_state(path: str) -> str:
    """The path of a daemon's socket, or what stands for it where the daemon's own folder lies in STATE."""
    return os.path.join(_folder_of(path), os.path.basename(path))


def named_socket(environ: dict[str, str], uid: int, name: str) -> str:
    """The path of the daemon of this name: PROGRAM@INSTANCE, an instance of upperd, or a program of its own.

    Of several the first one that is there, else the first.
    """
    names = [name] if "@" in name or name == NAME else [f"{NAME}@{name}", name]
    found = [path for each in names for path in trusted_sockets(environ, uid, each)]
    return next(filter(os.path.exists, found), found[0])


def name_of(path: str) -> str:
    """What the daemon is called whose socket or scoreboard this is, as its folder says; NAME: that says nothing."""
    root, folder = os.path.split(_folder_of(path))
    if root == "/tmp":
        folder = folder.rpartition("-")[0]
    name = folder.replace(f"{NAME}-", f"{NAME}@", 1) if folder.startswith(f"{NAME}-") else folder
    return name if is_name(name) else NAME


def is_abstract(socket: str) -> bool:
    """Whether this is @NAME, an abstract socket (unix(7)), as ss(8) and systemd.socket(5) write it."""
    return socket.startswith("@")


def complaint_about(socket: str) -> str:
    """What is wrong with the name of an abstract socket; empty: nothing, or it is a path."""
    if not is_abstract(socket):
        return ""
    length = len(os.fsencode(socket)) - 1
    if not length:
        return "an abstract socket needs a name, such as @upperd"
    if length > MAX_PATH:
        return f"the name of an abstract socket has {length} bytes, it may have {MAX_PATH}"
    return ""


def address_of(socket: str) -> str:
    """What to bind or connect to: a path as it is, an abstract name with a zero in front."""
    return f"\0{socket[1:]}" if is_abstract(socket) else socket


def stand_in(socket: str, default: str) -> str:
    """The path beside which the files of a daemon lie: its socket's, for an abstract one in the folder of `default`."""
    if not is_abstract(socket):
        return socket
    return os.path.join(os.path.dirname(default), f"@{socket[1:].translate(_ESCAPED)}")


def scoreboard_of(socket_path: str, runtime: str = "") -> str:
    """The scoreboard of the daemon with this socket: beside it, and told from that of another in the same folder.

    `runtime`: as `runtime_folder` has it. Where that is STATE below the socket's, it lies there.
    """
    folder, name = os.path.split(socket_path)
    if runtime == os.path.join(folder, STATE):
        folder = runtime
    return os.path.join(folder, "scoreboard" if name == SOCKET_NAME else f"{name}.scoreboard")


def find_scoreboard(socket_path: str) -> str:
    """The same for a reader, who does not know which: of the two the one that was made last."""
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
    """The file whose lock says that a daemon owns `path` (a socket's, or a scoreboard's)."""
    return f"{path}.lock"


def make_default_folder(socket_path: str, uid: int) -> None:
    """Make the folder of a default path where it is missing; refuse one that another user prepared.

    Raises FolderError, or OSError where it cannot be made.
    """
    folder = os.path.dirname(socket_path)
    try:
        os.mkdir(folder, 0o755 if is_of_system(socket_path) else 0o700)
    except FileExistsError:
        pass
    except FileNotFoundError:
        raise FolderError(f"{os.path.dirname(folder)} does not exist; name another path with --socket") from None
    if not is_own_folder(folder, uid):
        raise FolderError(f"{folder} is not a folder of uid {uid} alone; name another path with --socket")


def is_own_folder(folder: str, uid: int) -> bool:
    """Whether it is a true folder of `uid`, into which no other user can write.

    In /tmp, where another user may have made it first, no other may look into it either.
    """
    try:
        status = os.lstat(folder)
    except OSError:
        return False
    closed = 0o077 if folder.startswith("/tmp/") else 0o022
    return stat.S_ISDIR(status.st_mode) and status.st_uid == uid and not status.st_mode & closed
