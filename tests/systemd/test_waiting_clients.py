"""The unit's limits leave room for connections that wait for a child, and a restart loses none of them."""

import socket
from contextlib import ExitStack

from installed import DEADLINE, Upperd, read_to_end
from machine import wait_until

WAITING = 512
"""A quarter of --max-queue: the limit of one user's waiting connections."""


def occupy(upperd: Upperd, stack: ExitStack) -> list[socket.socket]:
    """Open as many connections as one user may have served at once."""
    connections = [stack.enter_context(upperd.connect()) for _ in range(upperd.stats()["max_children_per_user"])]
    for connection in connections:
        connection.sendall(b"x")
        assert connection.recv(1) == b"X"
    return connections


def queue(upperd: Upperd, stack: ExitStack) -> list[socket.socket]:
    """Connect and ask until the user may have no more waiting."""
    connections = [stack.enter_context(upperd.connect()) for _ in range(WAITING)]
    for number, connection in enumerate(connections):
        connection.sendall(f"client {number}".encode())
        connection.shutdown(socket.SHUT_WR)
    wait_until(lambda: upperd.stats()["queued"] == WAITING, DEADLINE, "all of them wait")
    return connections


ANSWERS = [f"CLIENT {number}" for number in range(WAITING)]


def test_a_users_share_of_the_queue(upperd: Upperd) -> None:
    """With a user's children all busy, 512 of its connections wait, none is refused, and another user is served."""
    upperd.systemctl("start", "upperd")
    with ExitStack() as stack:
        busy, waiting = occupy(upperd, stack), queue(upperd, stack)

        def status() -> str:
            return upperd.property("StatusText")

        wait_until(lambda: f"{WAITING} waiting of 1 user" in status(), DEADLINE, "the status says so")
        done = upperd.machine.run("upperctl", "send", "me, too", user="alice")
        assert done.stdout == "ME, TOO\n"
        for connection in busy:
            connection.shutdown(socket.SHUT_WR)
        assert [read_to_end(connection) for connection in waiting] == ANSWERS
    assert upperd.stats()["refused"] == 0


def test_restart_serves_who_waits(upperd: Upperd) -> None:
    """`systemctl restart` ends the quiet connections, so that every waiting one is answered before the new start."""
    upperd.systemctl("start", "upperd")
    pid = upperd.main_pid()
    with ExitStack() as stack:
        busy, waiting = occupy(upperd, stack), queue(upperd, stack)
        upperd.systemctl("restart", "upperd")
        assert [read_to_end(connection) for connection in waiting] == ANSWERS
        assert {read_to_end(connection) for connection in busy} == {""}
    assert upperd.main_pid() not in ("0", pid)
    assert upperd.ask("after") == "AFTER"
