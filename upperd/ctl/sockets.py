"""Asks the kernel about a Unix socket (unix(7)): whether it is alive, and which process listens there.

Only `listener_pid` connects. A connection would be counted and served, and would make the service manager start a
stopped daemon, so all other functions leave no trace.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from contextlib import suppress
from enum import Enum

from upperd.base import paths

_LISTENS, _DATAGRAM = 0x10000, 2


class Answer(Enum):
    """The kernel's answer about a path."""

    LIVE = "live"
    """A socket is bound to it, by any process in any namespace."""
    DEAD = "dead"
    """No socket is bound to it."""
    HIDDEN = "hidden"
    """We lack the permission to know."""


def ask(name: str) -> Answer:
    """Whether a live socket is bound to the path, or to the abstract name @NAME."""
    if paths.is_abstract(name):
        return Answer.LIVE if is_listed(name) else Answer.DEAD
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            failure = probe.connect_ex(name)
        except OSError:  # the path is too long for a socket
            return Answer.DEAD
    if failure in (0, errno.EPROTOTYPE, errno.EPERM):  # EPROTOTYPE: the socket is of another type, and stays untouched
        return Answer.LIVE
    return Answer.HIDDEN if failure == errno.EACCES else Answer.DEAD


def is_listed(name: str) -> bool:
    """Whether a socket in this network namespace accepts clients under that name, even if its path was removed."""
    return bool(_inodes(name))


def _inodes(name: str) -> list[str]:
    """The inodes of the sockets of that name that accept clients (proc(5), /proc/net/unix)."""
    try:
        with open("/proc/net/unix", encoding="utf-8", errors="surrogateescape") as file:
            rows = [line.rstrip("\n").split(None, 7) for line in file.readlines()[1:]]
    except OSError:
        return []
    named = [row for row in rows if len(row) == 8 and row[7] == name]
    return [row[6] for row in named if int(row[3], 16) & _LISTENS or int(row[4], 16) == _DATAGRAM]


def pid_of_listed(name: str) -> int:
    """The pid of a process that has such a socket open; 0: unknown. Only root sees every process (proc(5), fd)."""
    wanted = {f"socket:[{inode}]" for inode in _inodes(name)}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                if os.readlink(f"/proc/{pid}/fd/{descriptor}") in wanted:
                    return int(pid)
    return 0


def listener_pid(name: str) -> int:
    """The pid of the listening process; 0: unknown, as in another pid namespace. This connects."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(paths.address_of(name)):
            return 0
        return int(struct.unpack("iII", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])


def is_upperd(pid: int, program: str) -> bool:
    """Whether this process is a daemon of ours, judging by its name and its command line."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            comm = file.read().rstrip("\n")
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return False
    return comm in (program[:15], paths.NAME) or any(os.path.basename(word) == b"lean.py" for word in words[:3])
