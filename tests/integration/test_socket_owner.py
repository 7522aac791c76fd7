"""The owner of a TCP connection's other end is found or unknown, and never taken for root by mistake."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from acting import OTHER, USER, need_root, said, start_as, tell
from running import free_port
from tools import need

from upperd.server import peer
from upperd.server.layout import UNKNOWN
from upperd.server.peer import PeerLookup

ROOT = Path(__file__).parents[2]
CLIENT = """
import os, socket, struct, sys
host, port, maker, source = sys.argv[1], *map(int, sys.argv[2:])
os.seteuid(maker)
client = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
os.seteuid(os.getuid())
if source:
    client.bind((host, source))
client.connect((host, port))
print(flush=True)
for line in sys.stdin:
    exec(line)
    print(flush=True)
"""
RESET = "client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); client.close()"


@pytest.fixture
def peers() -> Iterator[PeerLookup]:
    """The look-up of one parent, which it uses for every connection."""
    lookup = PeerLookup()
    yield lookup
    lookup.close()


@contextmanager
def _listening(host: str) -> Iterator[socket.socket]:
    """A listener at an address; "dual" is one for IPv6 that takes IPv4, too."""
    dual = host == "dual"
    try:
        listener = socket.create_server(
            ("::" if dual else host, 0), family=socket.AF_INET if "." in host else socket.AF_INET6, dualstack_ipv6=dual
        )
    except OSError as error:
        pytest.skip(f"{host}: {error.strerror}")
    with listener:
        yield listener


class Accepted:
    """An accepted connection, and the process at its other end."""

    def __init__(self, connection: socket.socket, client: subprocess.Popen[bytes]) -> None:
        self.connection = connection
        self._client = client

    def do(self, line: str) -> None:
        """Have the client process execute a line of Python."""
        tell(self._client, line)
        said(self._client)


@pytest.fixture
def accept() -> Iterator[Callable[..., Accepted]]:
    """A function that has a user connect, by a socket that another user, `maker`, may have made."""
    need_root()
    with ExitStack() as stack:

        def connected(
            listener: socket.socket, uid: int, maker: int | None = None, host: str = "", source: int = 0
        ) -> Accepted:
            name, port = listener.getsockname()[:2]
            maker = uid if maker is None else maker
            client = stack.enter_context(start_as(uid, CLIENT, host or name, *map(str, (port, maker, source))))
            assert said(client) == ""
            return Accepted(stack.enter_context(listener.accept()[0]), client)

        yield connected


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1"])
def test_users_are_told_apart(peers: PeerLookup, accept: Callable[..., Accepted], host: str) -> None:
    """The uids of two users and of root are found on every kind of loopback address."""
    with _listening(host) as listener:
        for uid in (USER, OTHER, 0, USER):
            assert peers.uid(accept(listener, uid).connection) == uid


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_listener_of_both_families(peers: PeerLookup, accept: Callable[..., Accepted], host: str) -> None:
    """A listener for IPv6 that takes IPv4, too, knows the peers of both."""
    with _listening("dual") as listener:
        assert peers.uid(accept(listener, USER, host=host).connection) == USER


def test_socket_counts_for_its_maker(peers: PeerLookup, accept: Callable[..., Accepted]) -> None:
    """A socket that one user made and another one uses belongs to the user that made it, not to root."""
    with _listening("127.0.0.1") as listener:
        assert peers.uid(accept(listener, 0, maker=USER).connection) == USER


@pytest.mark.parametrize(
    "ending", ["client.shutdown(1)", "client.shutdown(2)", "client.send(b'x'); client.shutdown(1)"]
)
def test_half_closed_connection_is_known(peers: PeerLookup, accept: Callable[..., Accepted], ending: str) -> None:
    """A client that has half-closed already is still known, so half-closing is no way around a rule."""
    with _listening("127.0.0.1") as listener:
        accepted = accept(listener, USER)
        accepted.do(ending)
        assert peers.uid(accepted.connection) == USER


@pytest.mark.parametrize("ending", ["client.close()", "client.send(b'x'); client.close()", RESET])
def test_ended_connection_is_unknown(peers: PeerLookup, accept: Callable[..., Accepted], ending: str) -> None:
    """A client that closed or reset its connection is unknown, although the kernel's table shows uid 0 for it."""
    with _listening("127.0.0.1") as listener:
        accepted = accept(listener, USER)
        accepted.do(ending)
        assert peers.uid(accepted.connection) == UNKNOWN


def test_port_taken_by_another_user(peers: PeerLookup, accept: Callable[..., Accepted]) -> None:
    """A client that reuses the port of a reset connection does not become the peer of that connection."""
    with _listening("127.0.0.1") as listener:
        # A port that the kernel gives may be that of another listener's client, too, and could not be bound.
        first = accept(listener, USER, source=free_port())
        address = first.connection.getpeername()
        first.do(RESET)
        with socket.socket() as second:
            second.bind(address)
            second.connect(listener.getsockname())
            assert peers.uid(first.connection) == UNKNOWN
            with listener.accept()[0] as connection:
                assert peers.uid(connection) == os.geteuid()


ELSEWHERE = """
import socket, subprocess, sys
from upperd.server.peer import PeerLookup
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
theirs, peers = socket.socket(fileno=int(sys.argv[1])), PeerLookup()
with socket.create_server(theirs.getsockname()) as listener, socket.socket() as client:
    client.bind(theirs.getpeername())
    client.connect(theirs.getsockname())
    print(peers.uid(theirs), peers.uid(listener.accept()[0]))
"""


def test_other_network_namespace(peers: PeerLookup, accept: Callable[..., Accepted]) -> None:
    """A connection of the same addresses in the daemon's own network says nothing about one from another network."""
    need("unshare", "ip")
    with _listening("127.0.0.1") as listener:
        number = accept(listener, USER).connection.fileno()
        command = ["unshare", "--net", sys.executable, "-c", ELSEWHERE, str(number)]
        done = subprocess.run(command, pass_fds=[number], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout.split(), done.stderr) == ([str(UNKNOWN), "0"], "")


def test_nothing_is_asked_of_a_peer_elsewhere(peers: PeerLookup) -> None:
    """A peer that is not on loopback is unknown, and the kernel is not asked."""

    class Connection(socket.socket):
        def getsockname(self) -> tuple[str, int]:
            return "192.0.2.1", 9999

        def getpeername(self) -> tuple[str, int]:
            return "192.0.2.2", 1

    with Connection() as connection:
        assert peers.uid(connection) == UNKNOWN
    assert peers.descriptors() == []


def test_one_descriptor_for_all(peers: PeerLookup, accept: Callable[..., Accepted]) -> None:
    """All look-ups, failed ones too, share one descriptor, which is not inherited; closing releases it."""
    with _listening("127.0.0.1") as listener:
        accepted = accept(listener, USER)
        before = len(os.listdir("/proc/self/fd"))
        assert peers.uid(accepted.connection) == USER
        (descriptor,) = peers.descriptors()
        assert not os.get_inheritable(descriptor)
        accepted.do("client.close()")
        assert peers.uid(accepted.connection) == UNKNOWN
        assert len(os.listdir("/proc/self/fd")) == before + 1
        peers.close()
        assert peers.descriptors() == []
        assert len(os.listdir("/proc/self/fd")) == before
        assert peers.uid(accept(listener, USER).connection) == USER


def test_answer_that_is_left_over(peers: PeerLookup, accept: Callable[..., Accepted]) -> None:
    """An unread answer to an earlier question is not taken for the answer to a later one."""
    with _listening("127.0.0.1") as listener:
        ours = accept(listener, OTHER).connection
        assert peers.uid(ours) == OTHER
        question = peer._request(peers._sequence, socket.AF_INET, _addresses_of(ours))
        assert peers._kernel is not None
        peers._kernel.send(question)
        assert peers.uid(accept(listener, USER).connection) == USER
        assert peers.uid(ours) == OTHER


def _addresses_of(connection: socket.socket) -> bytes:
    """The peer's end of a connection, in the form in which the kernel is asked for it."""
    here, there = connection.getsockname(), connection.getpeername()
    return peer._ADDRESSES.pack(there[1], here[1], socket.inet_aton(there[0]), socket.inet_aton(here[0]))


def test_broken_netlink_socket_is_made_anew(peers: PeerLookup, accept: Callable[..., Accepted]) -> None:
    """If the kernel does not answer the peer is unknown, at once; the next peer is found through a new socket."""
    with _listening("127.0.0.1") as listener:
        connection = accept(listener, USER).connection
        assert peers.uid(connection) == USER
        deaf, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        deaf.setblocking(False)
        with far:
            peers.close()
            peers._kernel = deaf
            assert peers.uid(connection) == UNKNOWN
        assert peers.uid(connection) == USER
