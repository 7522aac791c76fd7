"""The promises of the listeners: what is taken, what is refused, and what is said about it."""

import errno
import os
import socket
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from upperd.base import paths
from upperd.service import listeners
from upperd.service.listeners import ActivationError, AlreadyRunningError, Listener, ListenerError, adopt, bind_unix
from upperd.service.tcp import bind_tcp


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a socket may be, short enough for one wherever the tests run."""
    monkeypatch.chdir(tmp_path)
    return "upper.sock"


@pytest.fixture
def bound(path: str) -> Iterator[Listener]:
    """A listener that we bound."""
    listener = bind_unix(path)
    yield listener
    listener.close()


def listening(family: socket.AddressFamily, address: str | tuple[str, int]) -> socket.socket:
    """A socket as the manager passes it."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.bind(address)
    sock.listen()
    return sock


def complaint(descriptor: int) -> str:
    """What is said about a descriptor that cannot be adopted."""
    with pytest.raises(ActivationError) as caught:
        adopt(descriptor, "web")
    text = str(caught.value)
    assert text.startswith(f"descriptor {descriptor} (web) passed by the service manager ")
    assert not caught.value.may_fall_back
    return text


# Activated


def test_adopt_unix(path: str) -> None:
    """A listening Unix socket is adopted, made to wait, and not inherited by programs."""
    sock = listening(socket.AF_UNIX, path)
    sock.setblocking(False)
    sock.set_inheritable(True)
    listener = adopt(sock.detach(), "web")
    assert (listener.is_unix, listener.activated, listener.name, listener.path) == (True, True, "web", path)
    assert listener.describe() == f"unix:{path} (activated as web)"
    assert listener.socket.getblocking()
    assert not listener.socket.get_inheritable()
    listener.close()


def test_adopted_is_not_unlinked(path: str) -> None:
    """The path of an adopted socket is the manager's, and stays."""
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


# Bound


def connects(path: str) -> bool:
    """Whether somebody listens at `path`."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


def test_bind(path: str, bound: Listener) -> None:
    """A bound socket listens at its path."""
    assert connects(path)
    assert (bound.path, bound.activated, bound.is_unix) == (path, False, True)
    assert bound.describe() == f"unix:{path} (bound)"


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o660), (0o022, 0o640), (0o077, 0o600), (0o007, 0o660)])
def test_mode(path: str, umask: int, mode: int) -> None:
    """The socket has mode 0660 less the umask, and the umask stays as it was."""
    before = os.umask(umask)
    try:
        bind_unix(path).close()
    finally:
        left = os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == mode
    assert left == umask


def test_never_with_wrong_permissions(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the socket has its mode nobody but its owner may open it, and even root cannot connect."""
    seen = []

    def chmod(target: str, mode: int) -> None:
        assert os.path.samefile(target, path)
        seen.append((stat.S_IMODE(os.lstat(path).st_mode), connects(path)))
        true_chmod(target, mode)

    true_chmod = os.chmod
    monkeypatch.setattr(os, "chmod", chmod)
    bind_unix(path).close()
    assert seen == [(0o600, False)]


def test_closed_folder(path: str, not_as_root: Callable[[], AbstractContextManager[None]]) -> None:
    """A folder in which we may not write is refused with the cure, and TCP may take the path's place."""
    os.mkdir("closed", 0o555)
    with not_as_root(), pytest.raises(ListenerError, match="start upperd as a user who may write there") as caught:
        bind_unix(f"closed/{path}")
    assert caught.value.may_fall_back


def test_stale_socket_is_taken_over(path: str) -> None:
    """A socket that nobody listens on any more is replaced."""
    listening(socket.AF_UNIX, path).close()
    assert not connects(path)
    listener = bind_unix(path)
    assert connects(path)
    listener.close()


def test_live_daemon(path: str) -> None:
    """A path at which somebody listens is refused with the pid, and left alone."""
    with listening(socket.AF_UNIX, path), pytest.raises(AlreadyRunningError) as caught:
        bind_unix(path)
    assert str(caught.value) == f"already running (pid {os.getpid()}) on {path}"
    assert not caught.value.may_fall_back
    assert os.path.exists(path)


def test_overloaded_daemon(path: str) -> None:
    """A daemon whose queue is full is alive, too."""
    with socket.socket(socket.AF_UNIX) as daemon, socket.socket(socket.AF_UNIX) as client:
        daemon.bind(path)
        daemon.listen(0)
        client.connect(path)
        with pytest.raises(AlreadyRunningError, match="pid unknown"):
            bind_unix(path)


def test_locked_by_another_process(path: str, bound: Listener) -> None:
    """A second daemon is refused by the lock alone, with the pid of the first."""
    os.unlink(path)
    pid = os.fork()
    if pid == 0:
        text = ""
        try:
            bind_unix(path)
        except AlreadyRunningError as error:
            text = str(error)
        finally:
            os._exit(0 if text == f"already running (pid {os.getppid()}) on {path}" else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not bound.activated


def make_file(path: str) -> None:
    """A file."""
    Path(path).write_bytes(b"precious")


def make_link(path: str) -> None:
    """A symbolic link to nowhere."""
    os.symlink("nowhere", path)


@pytest.mark.parametrize("make", [make_file, make_link, os.mkdir, os.mkfifo])
def test_not_a_socket(path: str, make: object) -> None:
    """What is there and is not a socket is refused and left alone."""
    assert callable(make)
    make(path)
    before = os.lstat(path)
    with pytest.raises(ListenerError, match=f"{path} is there and is not a socket") as caught:
        bind_unix(path)
    assert not caught.value.may_fall_back
    assert os.lstat(path).st_ino == before.st_ino


def test_socket_of_another_type(path: str) -> None:
    """A datagram socket at the path is not ours to remove."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(path)
        with pytest.raises(ListenerError, match="is a socket of another type"):
            bind_unix(path)
    assert os.path.exists(path)


def test_longest_path(path: str) -> None:
    """A path of 107 bytes is bound; one of 108 is refused, and TCP may take its place."""
    bind_unix("x" * paths.MAX_PATH).close()
    for long in ("x" * 108, "é" * 54):
        with pytest.raises(ListenerError, match="has 108 bytes, a socket's path may have 107") as caught:
            bind_unix(long)
        assert caught.value.may_fall_back


def test_missing_folder(path: str) -> None:
    """A missing folder is named with the cure, and TCP may take the path's place."""
    with pytest.raises(ListenerError, match="make the folder none first") as caught:
        bind_unix(f"none/{path}")
    assert caught.value.may_fall_back
    assert not os.path.exists("none")


def test_default_folder(path: str) -> None:
    """The folder of a default path is made."""
    listener = bind_unix(f"made/{path}", default_folder_of=os.geteuid())
    assert connects(f"made/{path}")
    listener.close()


def test_unusable_default_folder(path: str) -> None:
    """A default folder that another prepared is refused, and TCP may take its place."""
    os.mkdir("made")
    os.chmod("made", 0o777)
    with pytest.raises(ListenerError, match="name another path") as caught:
        bind_unix(f"made/{path}", default_folder_of=os.geteuid())
    assert caught.value.may_fall_back


def test_failure_lets_go_of_everything(path: str) -> None:
    """A path that cannot be had leaves no descriptor open."""
    make_file(path)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ListenerError):
        bind_unix(path)
    assert os.listdir("/proc/self/fd") == before


def test_unlink(path: str, bound: Listener) -> None:
    """We remove the path that we bound, and may be asked twice."""
    bound.unlink()
    bound.unlink()
    assert not os.path.lexists(path)


def test_unlink_leaves_what_is_not_ours(path: str, bound: Listener) -> None:
    """Another socket that was put at our path stays."""
    os.rename(path, "ours")
    with listening(socket.AF_UNIX, path):
        bound.unlink()
        assert connects(path)


def test_unlink_of_a_path_that_is_gone(path: str, bound: Listener) -> None:
    """A path that somebody else removed is no error."""
    os.unlink(path)
    bound.unlink()


def test_close_lets_go_of_the_lock(path: str, bound: Listener) -> None:
    """A closed listener's path can be bound again."""
    bound.close()
    bind_unix(path).close()


# TCP


def test_bind_tcp() -> None:
    """A loopback address is bound and listens at a port that the kernel chose."""
    (listener,) = bind_tcp("127.0.0.1:0")
    host, port = listener.socket.getsockname()
    assert (host, listener.address, listener.path) == ("127.0.0.1", f"tcp:127.0.0.1:{port}", "")
    socket.create_connection((host, port)).close()
    listener.close()


def test_bind_tcp_name() -> None:
    """All addresses of a name get the same port."""
    found = bind_tcp("localhost:0")
    assert len({listener.socket.getsockname()[1] for listener in found}) == 1
    for listener in found:
        assert listener.socket.getsockname()[0] in ("127.0.0.1", "::1")
        listener.close()


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
    with listening(socket.AF_INET, ("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        reason = os.strerror(errno.EADDRINUSE)
        with pytest.raises(ListenerError, match=f"cannot listen on tcp:127.0.0.1:{port}: {reason}"):
            bind_tcp(f"127.0.0.1:{port}")


@pytest.mark.parametrize("host", ["a..b", "x" * 70])
def test_impossible_host(host: str) -> None:
    """A name that cannot be one is refused, and named."""
    with pytest.raises(ListenerError, match=f"^{host}:0: "):
        bind_tcp(f"{host}:0")


def test_errors_are_listener_errors() -> None:
    """Whoever catches ListenerError catches them all."""
    assert issubclass(ActivationError, ListenerError)
    assert issubclass(AlreadyRunningError, ListenerError)
    assert listeners.BACKLOG > 4096
