"""Finds options that have no effect in the systemd unit that reads the file, or that make it fail to start.

On a shell it asks the manager, which also knows drop-ins and masked units. In the unit's own sandbox it cannot ask. But
there the kernel tells whether TCP and UDP are allowed, and the daemon knows where its socket comes from.
"""

from __future__ import annotations

import errno
import os
import socket

from upperd.base.paths import NAME
from upperd.service.options import ConfigError, Options, flag
from upperd.service.settings import about_path, no_effect

_PROPERTIES = ("ExecStart", "RestrictAddressFamilies", "PrivateNetwork", "TriggeredBy")


def refuse_forbidden(options: Options) -> None:
    """Raises ConfigError if an option asks for TCP or UDP, and the sandbox of this process allows neither."""
    for name in ("tcp", "udp"):
        if getattr(options, name) and not _has_internet():
            raise ConfigError(_forbidden(name), errno.EAFNOSUPPORT)


def notes(options: Options, config: str) -> list[str]:
    """Which options have no effect in the unit that reads this file. Raises ConfigError if one prevents its start."""
    stem = os.path.splitext(os.path.basename(config))[0]
    unit = NAME if stem == NAME else f"{NAME}@{stem}"
    from upperd.base import systemctl  # needed only on a shell

    said = next(iter(systemctl.show([f"{unit}.service"], _PROPERTIES, 10)), {})
    if os.path.abspath(config) not in said.get("ExecStart", ""):
        return []
    found = []
    for name in filter(lambda name: getattr(options, name), ("tcp", "udp")):
        families = said.get("RestrictAddressFamilies", "")
        if families and not families.startswith("~") and "AF_INET" not in families.split():
            raise ConfigError(f"{config}: {_forbidden(name)}", errno.EAFNOSUPPORT)
        if said.get("PrivateNetwork") == "yes":
            found.append(f"{name} has no effect: no client reaches the network of {unit}.service (PrivateNetwork=yes)")
    if f"{unit}.socket" in said.get("TriggeredBy", "").split():
        found += [no_effect(name, f"{unit}.socket") for name in about_path(options)]
    return found


def _forbidden(name: str) -> str:
    instead = "enable upperd-tcp.socket" if name == "tcp" else "have a socket unit pass it (ListenDatagram=)"
    return f"{flag(name)}: the unit forbids it (RestrictAddressFamilies=): leave it out, and {instead}"


def _has_internet() -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.socket(family).close()
        except OSError as error:
            if error.errno == errno.EAFNOSUPPORT:
                continue
        return True
    return False
