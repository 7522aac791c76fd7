"""The client's way to a TCP address."""

import socket

import pytest

from upperd.client import tcp


def _no_resolver(*_: object) -> None:
    raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


def test_localhost_needs_no_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """localhost means the loopback addresses if there is neither a resolver nor an entry in /etc/hosts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(tcp.socket, "getaddrinfo", _no_resolver)
        with tcp.connect_named(f"localhost:{listener.getsockname()[1]}", 30) as connection:
            assert connection.getpeername() == listener.getsockname()
