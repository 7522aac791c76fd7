"""Listeners that the daemon binds: the accepted paths, the refused ones, and the errors about them."""

import contextlib
import os
import socket
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from upperd.base import paths
from upperd.service.binding import bind_unix
from upperd.service.listeners import UNIX_BACKLOG, ActivationError, AlreadyRunningError, Listener, ListenerError
from upperd.service.tcp import bind_tcp


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder for sockets, with a short path wherever the tests run."""
    monkeypatch.chdir(tmp_path)
    return "upper.sock"


@pytest.fixture
def bound(path: str) -> Iterator[Listener]:
    """A listener that the daemon bound."""
    listener = bind_unix(path)
    yield listener
    listener.close()


def listening(path: str) -> socket.socket:
    """A listening socket of another program."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    sock.listen()
    return sock


def connects(path: str) -> bool:
    """Whether a process listens at `path`."""
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


def test_bind(path: str, bound: Listener) -> None:
    """A bound socket listens at its path."""
    assert connects(path)
    assert (bound.path, bound.activated, bound.is_unix) == (path, False, True)
    assert bound.describe() == f"unix:{path} (bound)"


def test_bound_listeners_never_block(bound: Listener) -> None:
    """Every bound socket is non-blocking: a client that vanishes before it is accepted must not delay the daemon."""
    abstract = bind_unix(f"@upperd-test-{uuid.uuid4()}")
    found = [bound, abstract, *bind_tcp("127.0.0.1:0"), *bind_tcp("127.0.0.1:0", kind=socket.SOCK_DGRAM)]
    assert not any(os.get_blocking(listener.socket.fileno()) for listener in found)
    for listener in found:
        listener.close()


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
    """Until the socket has its mode only its owner may open it, and even root cannot connect."""
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
    """A folder without write permission is refused with the cure, and TCP may replace the path."""
    os.mkdir("closed", 0o555)
    with not_as_root(), pytest.raises(ListenerError, match="start upperd as a user that may write there") as caught:
        bind_unix(f"closed/{path}")
    assert caught.value.may_fall_back


def test_stale_socket_is_taken_over(path: str) -> None:
    """A socket on which no process listens any more is replaced."""
    listening(path).close()
    assert not connects(path)
    listener = bind_unix(path)
    assert connects(path)
    listener.close()


def test_live_daemon(path: str) -> None:
    """A path at which a process listens is refused with the pid, and left alone."""
    with listening(path), pytest.raises(AlreadyRunningError) as caught:
        bind_unix(path)
    assert str(caught.value) == f"already running (pid {os.getpid()}) on {path}"
    assert not caught.value.may_fall_back
    assert os.path.exists(path)


def test_overloaded_daemon(path: str) -> None:
    """A daemon whose queue is full counts as alive, too."""
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
            os._exit(0 if text.startswith(f"already running (pid {os.getppid()}) on {path}; it is about to end") else 1)
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
    """A path that exists and is not a socket is refused and left alone."""
    assert callable(make)
    make(path)
    before = os.lstat(path)
    with pytest.raises(ListenerError, match=f"{path} exists and is not a socket") as caught:
        bind_unix(path)
    assert not caught.value.may_fall_back
    assert os.lstat(path).st_ino == before.st_ino


def test_socket_of_another_type(path: str) -> None:
    """A datagram socket at the path belongs to another program and is not removed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(path)
        with pytest.raises(ListenerError, match="it is a socket of another type"):
            bind_unix(path)
    assert os.path.exists(path)


def test_longest_path(path: str) -> None:
    """A path of 107 bytes is bound; one of 108 is refused, and TCP may replace it."""
    bind_unix("x" * paths.MAX_PATH).close()
    for long in ("x" * 108, "é" * 54):
        with pytest.raises(ListenerError, match="has 108 bytes, and a socket's path at most 107") as caught:
            bind_unix(long)
        assert caught.value.may_fall_back


def test_missing_folder(path: str) -> None:
    """A missing folder is named with the cure, and TCP may replace the path."""
    with pytest.raises(ListenerError, match="make the folder none first") as caught:
        bind_unix(f"none/{path}")
    assert caught.value.may_fall_back
    assert not os.path.exists("none")


def test_default_folder(path: str) -> None:
    """The folder of a default path is created."""
    listener = bind_unix(f"made/{path}", default_folder_of=os.geteuid())
    assert connects(f"made/{path}")
    listener.close()


def test_unusable_default_folder(path: str) -> None:
    """A default folder that another user prepared is refused, and TCP may replace it."""
    os.mkdir("made")
    os.chmod("made", 0o777)
    with pytest.raises(ListenerError, match="name another path") as caught:
        bind_unix(f"made/{path}", default_folder_of=os.geteuid())
    assert caught.value.may_fall_back


def test_failure_lets_go_of_everything(path: str) -> None:
    """A path that is refused leaves no descriptor open."""
    make_file(path)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ListenerError):
        bind_unix(path)
    assert os.listdir("/proc/self/fd") == before


def test_unlink(path: str, bound: Listener) -> None:
    """The listener's own path can be removed, also twice."""
    bound.unlink()
    bound.unlink()
    assert not os.path.lexists(path)


def test_unlink_leaves_what_is_not_ours(path: str, bound: Listener) -> None:
    """Another socket in place of the path stays."""
    os.rename(path, "ours")
    with listening(path):
        bound.unlink()
        assert connects(path)


def test_unlink_of_a_path_that_is_gone(path: str, bound: Listener) -> None:
    """A path that another process has removed is no error."""
    os.unlink(path)
    bound.unlink()


def test_close_lets_go_of_the_lock(path: str, bound: Listener) -> None:
    """A closed listener's path can be bound again."""
    bound.close()
    bind_unix(path).close()


def test_errors_are_listener_errors() -> None:
    """ListenerError is the base class of all these errors."""
    assert issubclass(ActivationError, ListenerError)
    assert issubclass(AlreadyRunningError, ListenerError)


def test_queue_of_the_kernel(path: str) -> None:
    """The backlog of a Unix socket is so short that the next client is soon accepted."""
    with contextlib.ExitStack() as until:
        until.callback(bind_unix(path).close)
        clients = 0
        with contextlib.suppress(BlockingIOError):
            while clients < 2 * UNIX_BACKLOG:
                client = until.enter_context(socket.socket(socket.AF_UNIX))
                client.setblocking(False)
                client.connect(path)
                clients += 1
        assert clients <= UNIX_BACKLOG + 1  # listen(2): one more; fewer where the system allows fewer
