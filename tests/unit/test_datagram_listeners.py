"""Datagram sockets: which are taken, and how they are bound."""

import os
import socket
from pathlib import Path

import pytest

from upperd.base import paths
from upperd.service.activation import adopt
from upperd.service.binding import bind_unix
from upperd.service.listeners import ActivationError, AlreadyRunningError, ListenerError


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder for sockets, with a short path wherever the tests run."""
    monkeypatch.chdir(tmp_path)
    return "datagram.sock"


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (socket.SOCK_DGRAM, "is not bound: no datagram can reach it"),
        (socket.SOCK_SEQPACKET, r"is SOCK_SEQPACKET: it must be .* or a datagram socket \(ListenDatagram=\)"),
    ],
)
def test_socket_that_is_no_use(kind: socket.SocketKind, wrong: str) -> None:
    """A socket that no datagram can reach, or of a type that is not served, is named with the reason."""
    with socket.socket(socket.AF_UNIX, kind) as sock, pytest.raises(ActivationError, match=f"{wrong}$"):
        adopt(sock.fileno(), "web")


def test_socket_of_another_protocol() -> None:
    """A datagram socket of another protocol than UDP is named with the protocol's number."""
    try:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_UDPLITE)
    except OSError:
        pytest.skip("this kernel has no UDP-Lite")
    with sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(ActivationError, match="of protocol 136, not UDP"):
            adopt(sock.fileno(), "web")


def test_bound_socket_is_taken() -> None:
    """A bound UDP socket is taken, and named by its protocol and address."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        listener = adopt(os.dup(sock.fileno()), "udp")
        assert listener.is_datagram
        assert listener.describe() == f"udp:127.0.0.1:{sock.getsockname()[1]} (activated as udp)"
        listener.close()


def test_bind_for_datagrams(path: str) -> None:
    """The sender of every datagram on a path is known, from the first on; a path of a live daemon is an error."""
    listener = bind_unix(path, kind=socket.SOCK_DGRAM)
    assert listener.address == f"unix-dgram:{path}"
    assert listener.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED) == 1
    with pytest.raises(AlreadyRunningError):
        bind_unix(path, kind=socket.SOCK_DGRAM)
    listener.unlink()
    listener.close()


def test_stored_socket_of_another_type(path: str) -> None:
    """A socket in the manager's store is taken for its own type only."""
    stream = bind_unix(path)
    stored = {stream.store_name(): stream}
    os.unlink(paths.lock_of(path))  # as left by a daemon that has ended
    with pytest.raises(ListenerError, match="is a socket of another type.*--datagram"):
        bind_unix(path, kind=socket.SOCK_DGRAM, stored=stored)
    assert stored
    stream.unlink()
    stream.close()
