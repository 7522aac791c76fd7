"""The names of this host's loopback interface, which need neither a resolver nor /etc/hosts."""

from __future__ import annotations

import socket

_ADDRESSES = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


def is_localhost(host: str) -> bool:
    """Whether `host` means these addresses: localhost, or a name that ends in .localhost (RFC 6761, 6.3)."""
    return f".{host.lower().removesuffix('.')}".endswith(".localhost")


def addresses(port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """The family and the address of each, as socket.bind() and socket.connect() take it."""
    return [(family, (address, port)) for family, address in _ADDRESSES]
