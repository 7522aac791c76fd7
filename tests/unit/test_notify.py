"""The protocol of the service manager, tested against a real datagram socket."""

import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from upperd.service.manager import ManagerError, take_environment
from upperd.service.notify import RETRY_SECONDS, Notifier
from upperd.service.settings import Settings

# sdnotify leaves its sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


@pytest.fixture
def path(tmp_path: Path) -> str:
    """The path at which the manager listens."""
    return str(tmp_path / "notify")


def receive_at(address: str) -> socket.socket:
    """The manager's socket, which does not block."""
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(address)
    receiver.setblocking(False)
    return receiver


@pytest.fixture
def receiver(path: str) -> Iterator[socket.socket]:
    """A manager that listens."""
    with receive_at(path) as receiver:
        yield receiver


def drain(receiver: socket.socket) -> list[bytes]:
    """All waiting messages."""
    messages = []
    while True:
        try:
            messages.append(receiver.recv(65536))
        except BlockingIOError:
            return messages


# From the manager


def test_nothing_said() -> None:
    """Without a manager nothing is passed, and there is no warning."""
    environ = {"HOME": "/x"}
    assert take_environment(environ, 7) == {"notify_socket": "", "watchdog_usec": 0}
    assert environ == {"HOME": "/x"}


def test_everything_is_taken() -> None:
    """The manager's variables leave the environment, the rest stays."""
    environ = {
        "NOTIFY_SOCKET": "@a", "WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "7", "LISTEN_PID": "7", "LISTEN_FDS": "3",
        "LISTEN_FDNAMES": "one:two", "LISTEN_PIDFDID": "1", "HOME": "/x",
    }
    said = take_environment(environ, 7)
    assert environ == {"HOME": "/x"}
    assert said == {"notify_socket": "@a", "watchdog_usec": 5000000, "listeners": "3=one:4=two:5=unknown"}


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", " 3", "+3", "٣", "9" * 19])
def test_malformed_number(value: str) -> None:
    """A variable that is not a number is refused, and named."""
    with pytest.raises(ManagerError, match=r"^LISTEN_FDS="):
        take_environment({"LISTEN_PID": "7", "LISTEN_FDS": value}, 7)
    if value:
        with pytest.raises(ManagerError, match=r"^LISTEN_PID="):
            take_environment({"LISTEN_PID": value, "LISTEN_FDS": "1"}, 7)


def test_sockets_of_no_process() -> None:
    """Sockets passed without a process are not taken, and the warning says so."""
    said = take_environment({"LISTEN_FDS": "1"}, 7)
    assert "listeners" not in said
    assert said["warning"].startswith("LISTEN_FDS=1 without LISTEN_PID")


@pytest.mark.parametrize("value", ["x", "-1", "1.5", "9" * 19])
def test_malformed_watchdog(value: str) -> None:
    """A watchdog whose time or process is not a number is refused, and its variable named."""
    with pytest.raises(ManagerError, match=r"^WATCHDOG_USEC="):
        take_environment({"WATCHDOG_USEC": value}, 7)
    with pytest.raises(ManagerError, match=r"^WATCHDOG_PID="):
        take_environment({"WATCHDOG_USEC": "1", "WATCHDOG_PID": value}, 7)


def test_too_many_sockets() -> None:
    """More sockets than any manager passes are refused."""
    with pytest.raises(ManagerError, match="more than 1024"):
        take_environment({"LISTEN_PID": "7", "LISTEN_FDS": "1025"}, 7)
    said = take_environment({"LISTEN_PID": "7", "LISTEN_FDS": "1024"}, 7)
    assert len(Settings(**said).passed()) == 1024


def test_sockets_of_another_process() -> None:
    """Sockets that were passed to another process are left alone, and the warning names both processes."""
    said = take_environment({"LISTEN_PID": "8", "LISTEN_FDS": "2"}, 7)
    assert "listeners" not in said
    assert "LISTEN_PID=8 is not this process (7)" in said["warning"]
    assert "exec" in said["warning"]


def test_watchdog_of_another_process() -> None:
    """A watchdog for another process is ignored; one without a process applies."""
    assert take_environment({"WATCHDOG_USEC": "5", "WATCHDOG_PID": "8"}, 7)["watchdog_usec"] == 0
    assert take_environment({"WATCHDOG_USEC": "5"}, 7)["watchdog_usec"] == 5


@pytest.mark.parametrize(
    ("names", "expected"),
    [("", ["unknown", "unknown"]), ("a", ["a", "unknown"]), ("a:b:c", ["a", "b"]), (":b", ["", "b"])],
)
def test_names(names: str, expected: list[str]) -> None:
    """Each socket has the name at its position, or is unknown; names without a socket are ignored."""
    said = take_environment({"LISTEN_PID": "7", "LISTEN_FDS": "2", "LISTEN_FDNAMES": names}, 7)
    assert Settings(**said).passed() == [(3, expected[0]), (4, expected[1])]


# To the manager


def test_one_message(receiver: socket.socket, path: str) -> None:
    """Related assignments are sent in one message, a line each."""
    notifier = Notifier(path)
    assert notifier.is_connected
    assert notifier.send("READY=1", "STATUS=fine")
    assert drain(receiver) == [b"READY=1\nSTATUS=fine"]


def test_utf8(receiver: socket.socket, path: str) -> None:
    """Text is sent as UTF-8, and what UTF-8 cannot encode is replaced."""
    notifier = Notifier(path)
    assert notifier.send("STATUS=größer → 😀")
    assert notifier.send("STATUS=\udcff")
    assert drain(receiver) == ["STATUS=größer → 😀".encode(), b"STATUS=?"]


def test_one_line(receiver: socket.socket, path: str) -> None:
    """A line break inside an assignment cannot begin another."""
    assert Notifier(path).send("STATUS=a\nMAINPID=1")
    assert drain(receiver) == [b"STATUS=a MAINPID=1"]


def test_no_manager() -> None:
    """Without a manager sending does nothing, and counts as sent."""
    notifier = Notifier("")
    assert notifier.send("READY=1")
    assert not notifier.is_connected


def test_full_receiver(receiver: socket.socket, path: str) -> None:
    """Important messages are kept while the manager has no room, and sent in order; skippable ones are skipped."""
    notifier = Notifier(path)
    taken = 0
    while notifier.tell("STATUS=fill"):
        taken += 1
    assert not notifier.send("RELOADING=1")
    assert not notifier.send("READY=1")
    assert not notifier.tell("WATCHDOG=1")
    assert notifier.turn(5.0) == 5.0 + RETRY_SECONDS
    assert not notifier.flush(0.1)
    assert drain(receiver) == [b"STATUS=fill"] * taken
    assert notifier.tell("STATUS=after")
    assert notifier.turn(5.0) is None
    assert drain(receiver) == [b"RELOADING=1", b"READY=1", b"STATUS=after"]


def test_descriptors_are_kept_open(receiver: socket.socket, path: str) -> None:
    """A descriptor for the store reaches the manager even if it was closed before the manager had room."""
    notifier = Notifier(path)
    while notifier.tell("STATUS=fill"):
        pass
    reading, writing = os.pipe()
    assert not notifier.send("FDSTORE=1", descriptors=[writing])
    os.close(writing)
    drain(receiver)
    notifier.turn(0.0)
    message, (stored,), _, _ = socket.recv_fds(receiver, 100, 1)
    assert message == b"FDSTORE=1"
    os.write(stored, b"x")
    assert os.read(reading, 1) == b"x"
    os.close(stored)
    assert os.read(reading, 1) == b""  # no copy is left
    os.close(reading)


def test_manager_that_is_gone_costs_no_memory(path: str) -> None:
    """If the manager reads nothing, the last messages are kept, not all."""
    notifier = Notifier(path)
    for number in range(1000):
        notifier.send(f"STATUS={number}")
    with receive_at(path) as receiver:
        messages = []
        while not notifier.flush(0.0):
            messages += drain(receiver)
        messages += drain(receiver)
    assert messages == [b"STATUS=%d" % number for number in range(936, 1000)]


def test_long_reason_is_cut_at_its_end(receiver: socket.socket, path: str) -> None:
    """A message is never longer than the manager takes, is cut between characters, and keeps its beginning."""
    assert Notifier(path).send("ERRNO=22", "STATUS=" + "ß" * 5000)
    (message,) = drain(receiver)
    assert message.startswith(b"ERRNO=22\nSTATUS=" + "ß".encode() * 1900)
    assert len(message) <= 4096
    message.decode("utf-8")


def test_nobody_there(path: str) -> None:
    """If the manager is gone each message is lost, and nothing is raised."""
    notifier = Notifier(path)
    assert [notifier.send("READY=1"), notifier.send("READY=1")] == [False, False]


@pytest.mark.parametrize("address", ["/" + "x" * 200, "\0", "relative\0zero"])
def test_impossible_address(address: str) -> None:
    """With an invalid address the message is lost, and nothing is raised."""
    notifier = Notifier(address)
    assert not notifier.send("READY=1")


def test_socket_made_anew(path: str) -> None:
    """When the manager recreates its socket, the next message arrives there and none is lost."""
    notifier = Notifier(path)
    with receive_at(path) as old:
        assert notifier.send("READY=1")
        assert drain(old) == [b"READY=1"]
    os.unlink(path)
    with receive_at(path) as new:
        assert notifier.send("STATUS=again")
        assert drain(new) == [b"STATUS=again"]


def test_abstract_address() -> None:
    """An address that begins with @ is in the abstract namespace."""
    name = f"upperd-test-{uuid.uuid4()}"
    with receive_at(f"\0{name}") as receiver:
        assert Notifier(f"@{name}").send("READY=1")
        assert drain(receiver) == [b"READY=1"]


def test_environment_is_untouched(receiver: socket.socket, path: str) -> None:
    """Sending leaves nothing in the environment, whether it succeeds or not."""
    before = dict(os.environ)
    Notifier(path).send("READY=1")
    Notifier(f"{path}.none").send("READY=1")
    assert dict(os.environ) == before
    assert len(drain(receiver)) == 1
