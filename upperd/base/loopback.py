"""The names of this host's loopback interface, which need neither a resolver nor /etc/hosts."""

from __future__ import annotations

ADDRESSES = ("127.0.0.1", "::1")


def is_localhost(host: str) -> bool:
    """Whether `host` means ADDRESSES: localhost, or a name that ends in .localhost (RFC 6761, 6.3)."""
    return f".{host.lower().removesuffix('.')}".endswith(".localhost")
