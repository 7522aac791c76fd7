"""The promises of the link between the parent and its children."""

import fcntl
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from upperd.server.link import Link

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def link() -> Iterator[Link]:
    """A link whose both sides are ours."""
    link = Link()
    yield link
    link.close()


def is_readable(descriptor: int) -> bool:
    """Whether a read would not wait."""
    return bool(select.select([descriptor], [], [], 0)[0])


def test_poke(link: Link) -> None:
    """Any number of pokes wakes the parent once."""
    link.poked()
    assert not is_readable(link.poke_descriptor)
    link.poke()
    link.poke()
    assert is_readable(link.poke_descriptor)
    link.poked()
    assert not is_readable(link.poke_descriptor)


def test_poke_never_blocks(link: Link) -> None:
    """A poke when the counter is full neither waits nor fails."""
    os.eventfd_write(link.poke_descriptor, 2**64 - 2)
    link.poke()
    assert is_readable(link.poke_descriptor)


def test_pass_a_connection(link: Link) -> None:
    """A connection that is passed up is the same one at the other end, with the number of its listener."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        link.pass_up(theirs, 127)
        assert is_readable(link.passing_descriptor())
        passed = link.take_passed()
        assert passed is not None
        number, descriptor = passed
        with socket.socket(fileno=descriptor) as connection:
            assert descriptor != theirs.fileno()
            connection.sendall(b"hello")
            assert ours.recv(5) == b"hello"
    link.restore_reserve()
    assert number == 127


def test_passed_in_order(link: Link) -> None:
    """Connections come out in the order in which they were passed, each with its own number."""
    left, right = socket.socketpair()
    with left, right:
        for number in range(3):
            link.pass_up(right, number)
    numbers = []
    while passed := link.take_passed():
        numbers.append(passed[0])
        os.close(passed[1])
        link.restore_reserve()
    assert numbers == [0, 1, 2]


def test_nothing_passed(link: Link) -> None:
    """Where nothing was passed the parent does not wait, and keeps its reserve."""
    before = link.parent_descriptors()
    assert link.take_passed() is None
    assert len(link.parent_descriptors()) == len(before) == 3


def test_message_without_a_connection(link: Link) -> None:
    """A message without a descriptor is no connection."""
    link.passing_child.send(b"\x01")
    assert link.take_passed() is None
    assert len(link.parent_descriptors()) == 3


def test_passed_descriptor_is_not_inherited(link: Link) -> None:
    """Nothing of the link, and nothing that is passed over it, reaches another program."""
    left, right = socket.socketpair()
    with left, right:
        link.pass_up(right, 0)
    passed = link.take_passed()
    assert passed is not None
    for descriptor in (passed[1], *link.child_descriptors(), *link.parent_descriptors()):
        assert fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC
    os.close(passed[1])


RESERVE = """
import errno, os, resource, socket
from upperd.server.link import Link

def fill():
    taken = []
    try:
        while True:
            taken.append(os.dup(0))
    except OSError as error:
        assert error.errno == errno.EMFILE
    return taken

link = Link()
ours, theirs = socket.socketpair()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
taken = fill()
link.pass_up(theirs, 5)
theirs_number = theirs.fileno()
number, descriptor = link.take_passed()
assert number == 5
os.write(descriptor, b"here")
assert ours.recv(4) == b"here"
link.restore_reserve()  # the table is full: no error
assert len(link.parent_descriptors()) == 2
os.close(descriptor)
link.restore_reserve()
assert len(link.parent_descriptors()) == 3
assert fill() == []
link.pass_up(theirs, 6)
number, descriptor = link.take_passed()
assert number == 6
print("passed")
"""


def test_reserve_at_a_full_table() -> None:
    """A connection that is passed while our table of descriptors is full arrives, time after time."""
    done = subprocess.run([sys.executable, "-c", RESERVE], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert (done.stderr, done.stdout, done.returncode) == ("", "passed\n", 0)


def test_close_lets_go_of_everything() -> None:
    """A closed link leaves no descriptor open."""
    before = os.listdir("/proc/self/fd")
    Link().close()
    assert os.listdir("/proc/self/fd") == before


def test_lifeline_ends_with_the_parent(link: Link) -> None:
    """The lifeline is quiet while the parent's end is open, and ends when the last copy is closed."""
    child_end = os.dup(link.lifeline)
    try:
        assert not is_readable(child_end)
        twin = Link()
        own = os.dup(twin.lifeline)
        twin.close()
        assert os.read(own, 1) == b""
        os.close(own)
    finally:
        os.close(child_end)


LIFELINE = """
import os, signal
from upperd.server.link import Link

reader, writer = os.pipe()
parent = os.fork()
if parent == 0:
    link = Link()
    child = os.fork()
    if child == 0:
        for descriptor in link.parent_descriptors():
            os.close(descriptor)
        assert link.watch_parent()
        os.write(writer, b"%d\\n" % os.getpid())
        signal.pause()
        os._exit(1)
    PARENT
    signal.pause()
os.close(writer)
assert os.read(reader, 20).strip().isdigit()
# The pipe ends only when the child has ended, too.
os.kill(parent, signal.SIGKILL)
os.waitpid(parent, 0)
assert os.read(reader, 1) == b""
print("ended")
"""


@pytest.mark.parametrize("parent_does", ["link.own_signals(child); assert link.renew_group(has_members=True)", "pass"])
def test_children_end_with_a_killed_parent(parent_does: str) -> None:
    """When the parent is killed the kernel ends its children, its first one in any case."""
    script = LIFELINE.replace("PARENT", parent_does)
    done = subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert (done.stderr, done.stdout, done.returncode) == ("", "ended\n", 0)


FOREIGN_WAIT = """
import os, signal
from upperd.server.link import Link

def fork():
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(1)
    return pid

link = Link()
first = fork()
assert not link.renew_group(has_members=False)
assert link.own_signals(first)
assert link.renew_group(has_members=True)
os.kill(first, signal.SIGKILL)
os.waitpid(first, 0)
second = fork()
link.adopt(second)
assert not link.renew_group(has_members=True)
os.kill(second, signal.SIGKILL)
os.waitpid(second, 0)
"""


def test_group_that_has_died_out_is_founded_anew() -> None:
    """Where somebody else has reaped all of the group, and the parent does not know, another one is founded."""
    command = [sys.executable, "-c", FOREIGN_WAIT]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60)
    assert (done.stderr, done.returncode) == ("", 0)


@pytest.mark.parametrize(("data", "count"), [(b"\0", 2), (b"\0", 3), (b"", 1), (b"\0\0", 1)])
def test_nonsense_from_a_child(link: Link, data: bytes, count: int) -> None:
    """Whatever a broken child sends up, the parent keeps no descriptor of it but the one that it takes."""
    before = os.listdir("/proc/self/fd")
    socket.send_fds(link.passing_child, [data], [link.null] * count)
    taken = link.take_passed()
    if taken is not None:
        os.close(taken[1])
        link.restore_reserve()
    assert len(os.listdir("/proc/self/fd")) == len(before)
