"""`upperd --inetd`, the launcher's part: finds and checks the one connection that another program has accepted.

    inetd, xinetd, or systemd with Accept=yes ── accepts, forks, execs ──> upperd --inetd ── exec ──> single.py

The connection is the one socket that systemd passed, else standard input (StandardInput=socket).

Only answers may ever be written to the client. inetd passes the connection as standard output and error, too, so both
are replaced by /dev/null before anything is printed.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Container, Mapping

from upperd.base.streams import open_null
from upperd.service.activation import peer_address
from upperd.service.manager import ManagerError
from upperd.service.options import OptionError, flag
from upperd.service.settings import Settings

_FLAGS = (
    *("config", "drain_timeout", "handler", "log_level", "name", "python_path"),
    *("allow_user", "allow_group", "deny_user", "idle_timeout", "max_lifetime", "max_bytes"),
)
"""The flags that apply to one connection. A file may have other options, too, since it may be the daemon's."""
_CURE = "--inetd serves one connection that inetd, xinetd or a socket unit with Accept=yes has accepted"


def keep_stream_clean(closed: Container[int]) -> None:
    """Replace standard output and error by /dev/null if they are the connection.

    `closed`: which of 0, 1 and 2 were closed. Standard input is closed again, for with_connection() to report it.
    """
    if 0 in closed:
        os.close(0)
    for descriptor in (1, 2):
        if _is_same_socket(0, descriptor):
            null = open_null()
            os.dup2(null, descriptor)
            os.close(null)


def _is_same_socket(one: int, other: int) -> bool:
    try:
        status = os.fstat(one)
        return stat.S_ISSOCK(status.st_mode) and os.path.samestat(status, os.fstat(other))
    except OSError:
        return False  # one of them is closed


def refuse_options(flags: Mapping[str, object]) -> None:
    """Raise OptionError for a flag that is about listening or children."""
    for name in flags:
        if name not in _FLAGS:
            raise OptionError(f"--{flag(name)} has no meaning with --inetd: there is no listener")


def with_connection(settings: Settings) -> Settings:
    """Store the connection's descriptor in the settings. Raises OptionError or ManagerError if there is none."""
    passed = settings.passed()
    if len(passed) > 1:
        raise ManagerError(f"{len(passed)} sockets were passed: {_CURE}")
    descriptor, name = passed[0] if passed else (0, "")
    what = f"descriptor {descriptor} ({name}) passed by the service manager" if passed else "standard input"
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        raise OptionError(f"{what} is closed: {_CURE}") from None
    if not stat.S_ISSOCK(mode):
        raise OptionError(f"{what} is {_kind(descriptor, mode)}, not a connection: {_CURE}")
    connection = socket.socket(fileno=descriptor)
    complaint = _complaint(connection)
    connection.detach()
    if complaint:
        raise ManagerError(f"{what} {complaint}: {_CURE}")
    settings.connection = descriptor
    return settings


def _kind(descriptor: int, mode: int) -> str:
    if os.isatty(descriptor):
        return "a terminal"
    kinds = {stat.S_IFREG: "a file", stat.S_IFIFO: "a pipe", stat.S_IFDIR: "a folder"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _complaint(sock: socket.socket) -> str:
    if sock.family not in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
        return f"is of address family {int(sock.family)}, neither Unix nor TCP"
    if sock.type != socket.SOCK_STREAM:
        return f"is not a stream socket but {sock.type.name}"
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "is a listening socket (Accept=no; in inetd.conf: wait)"
    # A TCP client may be gone already; then the socket still has our address.
    was_connected = peer_address(sock) is not None or (sock.family != socket.AF_UNIX and sock.getsockname()[1] != 0)
    return "" if was_connected else "is not connected"
