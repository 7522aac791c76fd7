"""Listeners passed by the manager: the valid ones are adopted, and an error says what is wrong with others."""

import os
import socket
import stat
import uuid
from pathlib import Path

import pytest

from upperd.service.activation import adopt
from upperd.service.listeners import ActivationError


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder for sockets, with a short path wherever the tests run."""
    monkeypatch.chdir(tmp_path)
    return "upper.sock"


def listening(family: socket.AddressFamily, address: str | tuple[str, int]) -> socket.socket:
    """A socket as the manager passes it."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind(address)
    sock.listen()
    return sock


def complaint(descriptor: int) -> str:
    """The error about a descriptor that cannot be adopted."""
    with pytest.raises(ActivationError) as caught:
        adopt(descriptor, "web")
    text = str(caught.value)
    assert text.startswith(f"descriptor {descriptor} (web) passed by the service manager ")
    assert not caught.value.may_fall_back
    return text


def test_adopt_unix(path: str) -> None:
    """A listening Unix socket is adopted, made non-blocking, and not inherited by programs."""
    sock = listening(socket.AF_UNIX, path)
    sock.set_inheritable(True)
    listener = adopt(sock.detach(), "web")
    assert (listener.is_unix, listener.activated, listener.name, listener.path) == (True, True, "web", path)
    assert listener.describe() == f"unix:{path} (activated as web)"
    assert not os.get_blocking(listener.socket.fileno())
    assert not listener.socket.get_inheritable()
    listener.close()


def test_adopted_is_not_unlinked(path: str) -> None:
    """The path of an adopted socket belongs to the manager, and stays."""
    listener = adopt(listening(socket.AF_UNIX, path).detach(), "web")
    listener.unlink()
    listener.close()
    assert os.path.exists(path)


def test_adopt_tcp() -> None:
    """A listening TCP socket is adopted."""
    listener = adopt(listening(socket.AF_INET, ("127.0.0.1", 0)).detach(), "web")
    port = listener.socket.getsockname()[1]
    assert (listener.address, listener.is_unix, listener.path) == (f"tcp:127.0.0.1:{port}", False, "")
    listener.close()


def test_adopt_abstract() -> None:
    """A socket with an abstract address has no path, and is shown with an @."""
    name = f"upperd-test-{uuid.uuid4()}"
    listener = adopt(listening(socket.AF_UNIX, f"\0{name}").detach(), "web")
    assert (listener.address, listener.path) == (f"unix:@{name}", "")
    listener.close()


def test_descriptor_that_is_not_open() -> None:
    """A descriptor that is not open is named."""
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    assert "is not open: Bad file descriptor" in complaint(descriptor)


def test_file(tmp_path: Path) -> None:
    """A file is not a socket."""
    with open(tmp_path / "file", "wb") as file:
        assert complaint(file.fileno()).endswith("is not a socket")


def test_connection() -> None:
    """A connection is not a listening socket."""
    left, right = socket.socketpair()
    with left, right:
        assert "does not listen" in complaint(left.fileno())


def test_other_family() -> None:
    """A socket that is neither Unix nor TCP is named with its family."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW) as sock:
        assert f"is of address family {int(socket.AF_NETLINK)}" in complaint(sock.fileno())


def test_refused_descriptor_stays_open() -> None:
    """A descriptor that is refused is not closed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        complaint(sock.fileno())
        assert stat.S_ISSOCK(os.fstat(sock.fileno()).st_mode)
