"""Explains why a connection to a Unix socket failed: the cause as far as the file system shows it, and the remedy."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat

from upperd.base import installation, paths
from upperd.client.finding import AccessError, ClientError, NoDaemonError, ReplyTimeoutError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_KINDS = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe"}


def explain(path: str, error: OSError, *, is_named: bool) -> ClientError:
    """The error for a failed connect(2) to the socket at `path`. `is_named`: the user named the socket."""
    if error.errno == errno.EAGAIN:
        return ReplyTimeoutError(f"{path}: no room in the backlog in time: the daemon is overloaded or stuck")
    if paths.is_abstract(path):
        if error.errno != errno.ECONNREFUSED:
            return ClientError(f"{path}: {error.strerror}")
        return NoDaemonError(f"nothing listens on {path} in this network namespace: start upperd, or name its socket")
    if kind := _kind_of_other(path):
        return NoDaemonError(f"{path} is {kind}, not a socket: name upperd's socket")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        cure = ", or correct the path" if is_named else ", or name its socket with --socket"
        return NoDaemonError(f"no socket at {path}: start upperd ({_how_to_start(path, is_named)}){cure}")
    if error.errno == errno.ECONNREFUSED:
        how = _how_to_start(path, is_named)
        return NoDaemonError(f"nothing listens on {path}: a daemon that has exited left it; start upperd ({how})")
    if error.errno in (errno.EACCES, errno.EPERM):
        return AccessError(f"permission denied: {_obstacle(path)}")
    if error.errno == errno.EPROTOTYPE:
        return NoDaemonError(f"{path} is not a stream socket: name upperd's stream socket")
    return ClientError(f"{path}: {error.strerror}")


def _kind_of_other(path: str) -> str:
    """What kind of file lies at the path, if it is no socket; empty if it is one, or cannot be examined."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ""
    return "" if stat.S_ISSOCK(mode) else _KINDS.get(stat.S_IFMT(mode), "a device")


def _how_to_start(path: str, is_named: bool) -> str:
    """The command that starts this socket's daemon. systemctl only knows the system's daemons."""
    plain = f"upperd --socket {path}"
    if is_named and not paths.is_of_system(path):
        return plain
    return installation.command("start", plain).replace("start upperd", f"start {paths.name_of(path)}")


def _obstacle(path: str) -> str:
    """Which file or folder denies access, its owner, and what would give access."""
    obstacle = path
    while not os.access(os.path.dirname(obstacle) or "/", os.X_OK):
        obstacle = os.path.dirname(obstacle)
    try:
        status = os.stat(obstacle)
    except OSError:
        return obstacle
    owner, group = _name(pwd.getpwuid, status.st_uid), _name(grp.getgrgid, status.st_gid)
    seen = f"{obstacle} belongs to {owner}:{group}, mode {stat.S_IMODE(status.st_mode):04o}"
    wanted = stat.S_IXGRP if stat.S_ISDIR(status.st_mode) else stat.S_IWGRP
    if not status.st_mode & wanted or status.st_gid in (os.getegid(), *os.getgroups()):
        return f"{seen}; ask {owner}, or run as that user"
    user = _name(pwd.getpwuid, os.geteuid())
    if _is_member(user, status.st_gid):
        return f"{seen}; {user} has joined that group since this login: log in again, or run 'newgrp {group}'"
    return f"{seen}; join the group (usermod -aG {group} {user}) and log in again"


def _is_member(user: str, gid: int) -> bool:
    """Whether the user database has the user in the group, so that a new login would be a member."""
    try:
        return user in grp.getgrgid(gid).gr_mem or pwd.getpwnam(user).pw_gid == gid
    except KeyError:
        return False


def _name(lookup: Callable[[int], Sequence[object]], number: int) -> str:
    """The name of the user or group; its number if it has no name."""
    try:
        return str(lookup(number)[0])
    except KeyError:
        return str(number)
