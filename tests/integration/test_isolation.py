"""A child holds nothing of another: standard streams, its channel, its connection, its page of the scoreboard."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path

from datagrams import ask, at, sender, serving
from holdings import excess, mappings, sockets
from programs import program
from running import DEADLINE, Daemon, activated, running, wait_until
from users import ALICE, BOB, CAROL, connect_as, is_served, needs_root, serves

CLOSING_SECONDS = 5.0
"""A child first closes what is not its own; on a busy machine this may take a while."""


def _assert_isolated(daemon: Daemon, children: Callable[[], list[int]] | None = None) -> None:
    """Fail with what children hold and must not."""
    children = children or daemon.children
    end = time.monotonic() + CLOSING_SECONDS
    while found := excess(daemon.pid, children()):
        assert time.monotonic() < end, "\n".join(found)


def test_child_of_a_daemon(folder: Path) -> None:
    """Busy, idle and spare children of a daemon with a queue hold nothing of each other, whenever they were forked."""
    needs_root(folder)
    options = ("--max-children", "12", "--max-children-per-user", "3", "--spare-children", "3", "--socket-mode", "0666")
    with running(folder, "--tcp", "127.0.0.1:0", *options) as daemon, contextlib.ExitStack() as until:

        def hold(uid: int, count: int) -> list[socket.socket]:
            return [until.enter_context(connection) for connection in connect_as(daemon, uid, count=count)]

        _assert_isolated(daemon)
        assert serves(daemon, BOB)
        served = hold(ALICE, 3)
        assert all(map(is_served, served))
        queued = hold(ALICE, 5)
        wait_until(lambda: daemon.board.header["queued"] == 5, "five wait")
        for uid in (CAROL, 0):  # more than there are spare ones: children are forked while others serve and wait
            served += (more := hold(uid, 3))
            assert all(map(is_served, more))
        _assert_isolated(daemon)
        waiting = {child["pid"] for child in daemon.board.children if child["waiting"]}
        busy = {child["pid"] for child in daemon.board.children if not child["waiting"]}
        assert len(busy) == 9
        assert waiting
        assert {len(sockets(pid)) for pid in waiting} == {1}
        assert {len(sockets(pid) & sockets(daemon.pid)) for pid in busy} == {1}
        # And they hold no connection that they have finished.
        for connection in served + queued:
            connection.close()
        wait_until(lambda: not daemon.board.header["queued"], "the queue is served")
        for uid in (ALICE, BOB, CAROL, 0):
            assert serves(daemon, uid)
        _assert_isolated(daemon)


def test_child_maps_one_page_of_the_scoreboard(folder: Path) -> None:
    """A child maps its own page of the scoreboard for writing, and at most the header of the rest, for reading."""
    with running(folder, "--spare-children", "3") as daemon, daemon.held():
        _assert_isolated(daemon)
        path = str(daemon.path.parent / "scoreboard")
        for child in daemon.board.children:
            pages = [mapping for mapping in mappings(child["pid"]) if mapping.path == path]
            assert [page.size for page in pages if page.offset] == [4096]
            assert not [page for page in pages if not page.offset and "w" in page.permissions]


def test_child_under_load(folder: Path) -> None:
    """While connections of several users come and go, two children never hold the same socket."""
    needs_root(folder)
    options = ("--max-children", "6", "--spare-children", "2", "--socket-mode", "0666", "--connections-per-child", "3")
    with running(folder, *options) as daemon:
        for _ in range(10):
            with contextlib.ExitStack() as until:
                for uid in (ALICE, BOB, CAROL):
                    for connection in connect_as(daemon, uid, count=4):
                        until.enter_context(connection).sendall(b"x")
                _assert_isolated(daemon)


def test_child_for_datagrams(folder: Path) -> None:
    """A child for datagrams holds nothing with which it could read the socket, or change how its parent reads it."""
    with serving(folder, "--tcp", "127.0.0.1:0", "--spare-children", "2") as daemon, daemon.held():
        with sender(at(folder)) as client:
            assert ask(client, b"x") == b"X"
        _assert_isolated(daemon)


def test_environment_is_scrubbed(folder: Path) -> None:
    """No child has a variable of the manager in its environment."""
    environ = {"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1", "LISTEN_FDNAMES": ""}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "upperd.sock"))
        listener.listen()
        arguments = activated(folder, [listener], names="one")
        with running(folder, environ=environ, **arguments) as daemon, daemon.held():
            seen = {
                name.partition("=")[0]
                for pid in daemon.children()
                for name in Path(f"/proc/{pid}/environ").read_text().split("\0")
            }
            assert seen
            _assert_isolated(daemon)
    assert [name for name in seen if name.startswith(("NOTIFY_", "WATCHDOG_", "LISTEN_"))] == []


TWO = """
class Limited(Server):
    max_children = 6
    max_children_per_user = 2
    spare_children = 2
    connections_per_child = int(sys.argv[2])
servers = [Limited(PATH + suffix, Pid) for suffix in ("", ".two")]
threads = [threading.Thread(target=server.serve_forever) for server in servers]
ready()  # before the first fork: what else a program has open is inherited, as under the stock class
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def _children(daemon: Daemon) -> list[int]:
    """The children of every thread of a program."""
    tasks = Path(f"/proc/{daemon.pid}/task").iterdir()
    return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]


def _connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(DEADLINE)
    client.connect(str(path))
    client.sendall(b"x")
    return client


def test_two_servers_in_one_program(folder: Path) -> None:
    """With two servers in one program no child holds anything of the other server, or of another child."""
    paths = [folder / "upperd.sock", folder / "upperd.sock.two"]
    with program(folder, TWO, "1000") as daemon, contextlib.ExitStack() as until:
        served = [until.enter_context(_connect(path)) for _ in range(2) for path in paths]
        assert len({client.recv(64) for client in served}) == 4
        waiting = [until.enter_context(_connect(path)) for _ in range(3) for path in paths]
        _assert_isolated(daemon, lambda: _children(daemon))
        for client in served:
            client.close()
        # The waiting children serve them, and still each holds only its own.
        assert all(client.recv(64) for client in waiting[:4])
        _assert_isolated(daemon, lambda: _children(daemon))


def test_two_servers_under_load(folder: Path) -> None:
    """The same while the two servers, each in a thread of its own, accept and fork at the same time."""
    paths = [folder / "upperd.sock", folder / "upperd.sock.two"]
    with program(folder, TWO, "1") as daemon:
        for _ in range(40):
            with contextlib.ExitStack() as until:
                clients = [until.enter_context(_connect(path)) for _ in range(3) for path in paths]
                assert all(client.recv(64) for client in clients[:4])
                _assert_isolated(daemon, lambda: _children(daemon))
