"""Resolves the names of the loopback interface, without a resolver and without /etc/hosts."""

from __future__ import annotations

import socket

_ADDRESSES = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


def is_localhost(host: str) -> bool:
    """Whether `host` means the loopback addresses: localhost, or a name that ends in .localhost (RFC 6761, 6.3)."""
    return f".{host.lower().removesuffix('.')}".endswith(".localhost")


def addresses(port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """The family of each loopback address, and the address as socket.bind() and socket.connect() take it."""
    return [(family, (address, port)) for family, address in _ADDRESSES]
