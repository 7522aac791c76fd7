"""What a child passes up to the parent may be anything."""

import os
import select
import socket

import pytest

from upperd.server.link import Link
from upperd.server.passing import Passing


@pytest.mark.parametrize("what", ["/dev/null", "."])
def test_not_a_socket(what: str) -> None:
    """A descriptor that is no socket is closed and does the parent no harm; the next connection is taken."""
    link, epoll = Link(), select.epoll()
    passing = Passing(link, epoll)
    ours, theirs = socket.socketpair()
    descriptor = os.open(what, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    socket.send_fds(link.passing_child, [b"\0"], [descriptor])
    assert passing.take() is False
    assert passing.waiting is None
    assert len(os.listdir("/proc/self/fd")) == before
    socket.send_fds(link.passing_child, [b"\0"], [theirs.fileno()])
    assert passing.take() is True
    passing.close()
    link.close()
    epoll.close()
    os.close(descriptor)
    ours.close()
    theirs.close()
