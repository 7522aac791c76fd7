"""The manager's descriptor store: how a listener that we bound outlives us (sd_notify(3), FDSTORE=1).

The law: names only. A stored listener is called by what it is bound to, and what it is bound to is looked up under
that name: a path by the device and the inode of its socket, so that a path that is no longer this listener's does not
find it; an address, and an abstract name, by itself. Who waits in the listener's queue while there is no daemon is
served by the next one.
"""

from __future__ import annotations

import os

_MARK = "bound."
"""Tells a stored listener from one of a socket unit."""


def is_stored(name: str) -> bool:
    """Whether a descriptor of this name (LISTEN_FDNAMES) comes from the store."""
    return name.startswith(_MARK)


def path_name(path: str) -> str:
    """The name of the listener that is bound to `path` at this moment. Raises OSError."""
    status = os.lstat(path)
    return f"{_MARK}{status.st_dev:x}.{status.st_ino:x}"


def abstract_name(name: bytes, *, is_datagram: bool = False) -> str:
    """The name of the listener that is bound to this abstract name: what it is bound to cannot be taken from it."""
    return f"{_MARK}{'datagram.' if is_datagram else ''}abstract.{name.hex()}"


def address_name(host: str, port: int, *, is_datagram: bool = False) -> str:
    """The name of the listener that is bound to this address of TCP, or UDP. (A colon would end a name.)"""
    return f"{_MARK}{'udp.' if is_datagram else ''}{host.replace(':', '_')}.{port}"
