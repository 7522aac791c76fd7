"""Listening on TCP and UDP: which addresses are taken, and how newcomers are turned away at the end."""

import errno
import os
import socket
from pathlib import Path

import pytest

from upperd.service import tcp
from upperd.service.activation import adopt
from upperd.service.binding import bind_unix
from upperd.service.listeners import ListenerError
from upperd.service.tcp import bind_tcp, turn_away


def listening() -> socket.socket:
    """A TCP socket that listens on loopback, as the manager passes it, or another program has it."""
    return socket.create_server(("127.0.0.1", 0))


def test_bind_tcp() -> None:
    """A loopback address is bound and listens at a port that the kernel chose."""
    (listener,) = bind_tcp("127.0.0.1:0")
    host, port = listener.socket.getsockname()
    assert (host, listener.address, listener.path) == ("127.0.0.1", f"tcp:127.0.0.1:{port}", "")
    socket.create_connection((host, port)).close()
    listener.close()


@pytest.mark.parametrize("name", ["localhost", "LocalHost.", "a.b.localhost"])
def test_bind_tcp_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """localhost is loopback without asking a resolver (RFC 6761, 6.3); all its addresses get the same port."""
    monkeypatch.setattr(socket, "getaddrinfo", None)
    found = bind_tcp(f"{name}:0")
    assert len({listener.socket.getsockname()[1] for listener in found}) == 1
    for listener in found:
        assert listener.socket.getsockname()[0] in ("127.0.0.1", "::1")
        listener.close()


def test_name_that_is_not_localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that only resembles localhost is left to the resolver."""
    asked = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_, **__: asked.append(host) or [])
    for name in ("localhost.example", "mylocalhost"):
        with pytest.raises(ListenerError, match="no address"):
            bind_tcp(f"{name}:0")
    assert asked == ["localhost.example", "mylocalhost"]


def has_ipv6() -> bool:
    """Whether this host has an IPv6 loopback address."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this host")
def test_bind_tcp_ipv6() -> None:
    """An IPv6 address is written in brackets, both ways."""
    (listener,) = bind_tcp("[::1]:0")
    assert listener.address == f"tcp:[::1]:{listener.socket.getsockname()[1]}"
    listener.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "[::]", "[2001:db8::1]", "[::ffff:127.0.0.1]"])
def test_remote_address(host: str) -> None:
    """An address that other hosts could reach is refused before anything is bound."""
    with pytest.raises(ListenerError, match="not a loopback address"):
        bind_tcp(f"{host}:0")


def test_half_remote_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of which one address is not of this host is refused whole, and nothing of it goes on listening."""
    port = 0
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.1", "192.0.2.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(ListenerError, match=r"192\.0\.2\.1, not a loopback address"):
        bind_tcp("both:0")
    monkeypatch.undo()


def test_tcp_port_in_use() -> None:
    """A port that is taken is named."""
    with listening() as other:
        port = other.getsockname()[1]
        reason = os.strerror(errno.EADDRINUSE)
        with pytest.raises(ListenerError, match=f"cannot listen on tcp:127.0.0.1:{port}: {reason}"):
            bind_tcp(f"127.0.0.1:{port}")


@pytest.mark.parametrize("host", ["a..b", "x" * 70])
def test_impossible_host(host: str) -> None:
    """A name that cannot be one is refused, and named."""
    with pytest.raises(ListenerError, match=f"^{host}:0: "):
        bind_tcp(f"{host}:0")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_newcomers_are_turned_away(host: str) -> None:
    """A TCP listener that turns newcomers away serves its queue, lets nothing new in, and ends before it is closed."""
    (listener,) = bind_tcp(f"{host}:0")
    address, family = listener.socket.getsockname(), listener.socket.family
    with socket.create_connection(address[:2]) as queued, socket.socket(family) as newcomer:
        assert turn_away(listener) is None
        assert (listener.turns_away, listener.can_be_found) == (True, False)
        assert newcomer.connect_ex(address) == errno.ECONNREFUSED
        connection, peer = listener.socket.accept()
        assert peer == queued.getsockname()
        with connection:
            queued.sendall(b"later")
            assert connection.recv(9) == b"later"
        with pytest.raises(BlockingIOError):
            listener.socket.accept()
    listener.end()
    with socket.socket(family) as late:
        assert late.connect_ex(address) == errno.ECONNREFUSED
    assert listener.describe() == f"tcp:{host}:{address[1]} (bound)"
    listener.unlink()
    listener.close()


def test_others_are_not_turned_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is removed instead, and a listener that is its manager's is left alone: neither ends before the close."""
    monkeypatch.chdir(tmp_path)
    bound = bind_unix("upper.sock")
    adopted = adopt(listening().detach(), "web")
    for listener in (bound, adopted):
        assert turn_away(listener) is None
        assert listener.can_be_found
        listener.end()
        assert listener.socket.fileno() >= 0
    bound.unlink()
    assert not bound.can_be_found
    bound.close()
    adopted.close()


def test_newcomers_that_cannot_be_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the kernel knows no way, the error is returned, and newcomers still get in."""
    (listener,) = bind_tcp("127.0.0.1:0")
    monkeypatch.setattr(tcp, "_SO_BINDTOIFINDEX", 9999)
    error = turn_away(listener)
    assert error is not None
    assert error.errno == errno.ENOPROTOOPT
    assert listener.can_be_found
    socket.create_connection(listener.socket.getsockname()).close()
    listener.close()
