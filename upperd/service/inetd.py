"""`upperd --inetd`: one connection that something else has accepted. This is the launcher's part of it.

    inetd, xinetd, or systemd with Accept=yes ── accepts, forks, execs ──> upperd --inetd ── exec ──> single.py

The connection is standard input (StandardInput=socket), else the one socket that systemd passed.

The law: nothing but answers is ever written to the client. inetd hands the connection out as standard output and error,
too, so these are made /dev/null before anything is said.
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
"""Options that mean something to one connection. (In a file the others may stand: it may be the daemon's.)"""
_CURE = "--inetd serves one connection that inetd, xinetd or a socket unit with Accept=yes has accepted"


def keep_stream_clean(closed: Container[int]) -> None:
    """Where standard output or error is the connection itself, make it /dev/null.

    `closed`: which of 0, 1 and 2 were. Standard input stays so, to be complained of.
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
    """Note the descriptor of the connection in the settings. Raises OptionError, ManagerError: there is none."""
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
    # A TCP client may be gone already: then the address of our end is left.
    was_connected = peer_address(sock) is not None or (sock.family != socket.AF_UNIX and sock.getsockname()[1] != 0)
    return "" if was_connected else "is not connected"
