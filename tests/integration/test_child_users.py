"""A child belongs to one user, and is reused for that user only: `PreforkingMixIn` in a library program."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest
from programs import program, run_program
from running import Daemon, read_to_end
from users import ALICE, BOB, CAROL, connect_as, needs_root

SERVE = """
class Shared(Server):
    spare_children = 3
    {settings}
with Shared(PATH, Pid) as server:
    os.chmod(PATH, 0o666)
    ready()
    server.serve_forever()
"""


def _serve(settings: str = "pass") -> str:
    return SERVE.replace("{settings}", settings)


def _pid(daemon: Daemon, uid: int) -> int:
    """The child that serves one connection of this user."""
    [connection] = connect_as(daemon, uid)
    with connection:
        connection.sendall(b"x")
        connection.shutdown(socket.SHUT_WR)
        return int(read_to_end(connection))  # to the end, before which the child is free again


def test_two_users_never_share(folder: Path) -> None:
    """Users that take turns are each served by children of their own, one after the other and at the same time."""
    needs_root(folder)
    served: dict[int, set[int]] = {ALICE: set(), BOB: set(), CAROL: set()}
    with program(folder, _serve()) as daemon:
        for _ in range(6):
            for uid, pids in served.items():
                pids.add(_pid(daemon, uid))
        with contextlib.ExitStack() as held:
            for uid, pids in served.items():
                for connection in connect_as(daemon, uid, count=3):
                    held.enter_context(connection)
                    connection.sendall(b"x")
                    pids.add(int(connection.recv(64)))
    every = [pid for pids in served.values() for pid in pids]
    assert len(every) == len(set(every))
    # And children are reused: six connections in a row took one child, three at a time took three.
    assert {len(pids) for pids in served.values()} == {3}


def test_child_of_another_user_makes_room(folder: Path) -> None:
    """If idle children of other users take every place, one of them ends; a child never changes its user."""
    needs_root(folder)
    settings = "max_children = 2; spare_children = 0; max_children_per_user = 2"
    served: dict[int, set[int]] = {ALICE: set(), BOB: set(), CAROL: set()}
    with program(folder, _serve(settings)) as daemon:
        for _ in range(4):
            for uid, pids in served.items():
                pids.add(_pid(daemon, uid))
    every = [pid for pids in served.values() for pid in pids]
    assert len(every) == len(set(every))


@pytest.mark.parametrize("most", [1, 3])
def test_connections_per_child(folder: Path, most: int) -> None:
    """A child ends after this many connections of its user; with 1 each connection has a process of its own."""
    with program(folder, _serve(f"connections_per_child = {most}")) as daemon:
        pids = []
        for _ in range(9):
            with daemon.connect() as connection:
                connection.sendall(b"x")
                pids.append(int(connection.recv(64)))
    counts = [pids.count(pid) for pid in set(pids)]
    assert max(counts) == most
    assert len(counts) == 9 // most or most == 3  # a connection may come before the last one is known to be over


def test_no_spare_child(folder: Path) -> None:
    """With `spare_children` 0 no child is forked before a connection needs it."""
    with program(folder, _serve("spare_children = 0")) as daemon:
        assert daemon.children() == []
        with daemon.connect() as connection:
            connection.sendall(b"x")
            pid = int(connection.recv(64))
            assert daemon.children() == [pid]


UNKNOWN = """
class Unknown(TCP):
    reuse_unknown = sys.argv[2] == "shared"
    spare_children = 1
with serving(Unknown(("127.0.0.1", 0), Pid)) as server:
    pids = [int(ask(b"x", server.server_address)) for _ in range(10)]
    print(len(set(pids)))
"""


def test_unknown_peer_has_a_child_of_its_own(folder: Path) -> None:
    """A peer without a known user shares its child with no other peer, also no later one."""
    assert int(run_program(folder, UNKNOWN, "alone")) == 10


def test_unknown_peers_share_where_that_is_allowed(folder: Path) -> None:
    """With `reuse_unknown` peers without a known user share children."""
    assert int(run_program(folder, UNKNOWN, "shared")) < 10


def test_overflow_uid_is_no_user(folder: Path) -> None:
    """Peers with the uid for all unknown users of a user namespace have a child for each connection, too."""
    needs_root(folder)
    with program(folder, _serve()) as daemon:
        assert len({_pid(daemon, 65534) for _ in range(5)}) == 5
