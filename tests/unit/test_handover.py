"""The hand-over: orders arrive unchanged, no side blocks, and each side learns of the other's end."""

from __future__ import annotations

import fcntl
import os
import resource
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from upperd.server import handover
from upperd.server.handover import LARGEST, Order
from upperd.server.layout import UNKNOWN

Channel = tuple[socket.socket, socket.socket]
PEER = (7, 7, UNKNOWN)
"""A peer whose pid is not known."""


def received(control: socket.socket, *, takes_datagrams: bool = False) -> Order:
    """The next order that arrived."""
    values = handover.receive(control, takes_datagrams=takes_datagrams)
    assert values is not None
    return Order(*values)


@pytest.fixture
def channel() -> Iterator[Channel]:
    """The parent's end and the child's."""
    ours, theirs = handover.channel()
    with ours, theirs:
        yield ours, theirs


@pytest.mark.parametrize(
    "address", ["", "/client", b"\0client", ("127.0.0.1", 9), ("::1", 9, 0, 1), pytest.param("/\udcff" * 50, id="long")]
)
def test_an_order_arrives_as_it_was(channel: Channel, address: Any) -> None:
    """An order reaches the child unchanged, with the connection, which is closed at an exec."""
    ours, theirs = channel
    reading, writing = os.pipe()
    handover.send(ours, Order(3, address, 7, PEER, is_last=True, max_bytes=2**40), writing)
    os.close(writing)
    order = received(theirs)
    assert (order.listener, order.address, order.is_last, order.max_bytes) == (3, address, True, 2**40)
    assert (order.user, order.peer, order.datagram) == (7, PEER, None)
    assert fcntl.fcntl(order.connection, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    os.write(order.connection, b"x")
    assert os.read(reading, 9) == b"x"
    os.close(order.connection)
    os.close(reading)


def test_each_order_is_one_message(channel: Channel) -> None:
    """Orders in quick succession do not run together, nor do their connections."""
    ours, theirs = channel
    pipes = [os.pipe() for _ in range(5)]
    for number, (_, writing) in enumerate(pipes):
        handover.send(ours, Order(number, "a" * 107, 7, PEER), writing)
    for number, (reading, writing) in enumerate(pipes):
        order = received(theirs)
        assert order.listener == number
        os.write(order.connection, b"x")
        assert os.read(reading, 1) == b"x"
        for descriptor in (order.connection, reading, writing):
            os.close(descriptor)


@pytest.mark.parametrize("size", [0, 1, 65507, 200_000])
def test_a_datagram(size: int) -> None:
    """A datagram of any size that a socket takes is sent over the channel in place of a connection."""
    ours, theirs = handover.channel(LARGEST)
    with ours, theirs:
        handover.send(ours, Order(0, "/client", 7, PEER, datagram=(b"x" * size,)))
        order = received(theirs, takes_datagrams=True)
        assert (order.datagram, order.connection) == ((b"x" * size,), -1)


def test_what_cannot_be_written_down(channel: Channel) -> None:
    """An address of a custom class is a ValueError, and nothing is sent."""
    with pytest.raises(ValueError, match="unmarshallable"):
        handover.send(channel[0], Order(0, object(), 7, PEER), 0)
    channel[0].close()
    assert handover.receive(channel[1]) is None


def test_the_parent_never_waits(channel: Channel) -> None:
    """If a child reads nothing, the parent's send fails instead of blocking."""
    with pytest.raises(BlockingIOError):  # noqa: PT012
        while True:
            handover.send(channel[0], Order(0, "a", 7, PEER))


def test_too_large(channel: Channel) -> None:
    """A message that no channel takes raises an OSError that says so."""
    with pytest.raises(OSError, match="Message too long"):
        handover.send(channel[0], Order(0, "", 7, PEER, datagram=(b"x" * (LARGEST * 8),)))


def test_ends(channel: Channel) -> None:
    """When the parent shuts down its end the child receives what it was handed, and then the end."""
    ours, theirs = channel
    handover.send(ours, Order(0, "a", 7, PEER, datagram=(b"x",)))
    ours.shutdown(socket.SHUT_WR)
    assert handover.receive(theirs) is not None
    assert handover.receive(theirs) is None
    handover.tell(theirs)
    assert ours.recv(16) != b""
    theirs.close()
    assert ours.recv(16) == b""


def test_a_parent_that_was_killed(channel: Channel) -> None:
    """A child whose parent was killed reads an end of file, even if the parent left the child's last message unread."""
    ours, theirs = channel
    handover.tell(theirs)
    ours.close()
    assert handover.receive(theirs) is None
    handover.tell(theirs)


def test_a_child_whose_table_of_descriptors_is_full(channel: Channel) -> None:
    """A connection lost for want of a descriptor is an error of the child, which has not begun."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    handover.send(channel[0], Order(0, "a", 7, PEER), 0)
    with socket.socket() as lowest_free:
        limit = lowest_free.fileno()
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            handover.receive(channel[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_nothing_is_inherited_over_an_exec(channel: Channel) -> None:
    """Both ends are closed when a child starts another program."""
    assert [end.get_inheritable() for end in channel] == [False, False]
