"""The main process is killed while it serves clients."""

import signal
import socket
from contextlib import ExitStack

import pytest
from installed import DEADLINE, Upperd, answer_or_end, read_to_end
from machine import wait_until
from questions import asking, wait_for_progress

KILLS = 5


def queue(upperd: Upperd, stack: ExitStack, text: str) -> socket.socket:
    """Connect and send; there may be no daemon yet to accept the connection."""
    connection = stack.enter_context(upperd.connect())
    connection.sendall(text.encode())
    connection.shutdown(socket.SHUT_WR)
    return connection


def test_clients_that_come_meanwhile_are_served(upperd: Upperd) -> None:
    """Clients that connect while the main process is down are answered by the next one."""
    upperd.systemctl("start", "upperd")
    pid = upperd.kill_main(signal.SIGKILL)
    wait_until(lambda: upperd.main_pid() != pid, DEADLINE, "systemd has seen the end")
    with ExitStack() as stack:
        clients = [queue(upperd, stack, f"client {number}") for number in range(8)]

        assert [read_to_end(client) for client in clients] == [f"CLIENT {n}" for n in range(8)]
    assert upperd.property("NRestarts") == "1"


def test_clients_in_the_backlog_are_served(upperd: Upperd) -> None:
    """When the main process is killed only one waiting client, which it had accepted, is cut, and at once."""
    upperd.run_with("--no-fallback", "--max-children=1", "--spare-children=1", "--max-queue=1")
    upperd.systemctl("start", "upperd")
    with ExitStack() as stack:
        served = stack.enter_context(upperd.connect())
        served.sendall(b"first\n")
        assert served.recv(64) == b"FIRST\n"
        clients = [queue(upperd, stack, f"client {number}") for number in range(8)]
        wait_until(lambda: upperd.stats()["queued"] == 1, DEADLINE, "one is accepted and waits for a child")
        upperd.kill_main(signal.SIGKILL)

        assert [answer_or_end(client) for client in clients] == ["", *(f"CLIENT {n}" for n in range(1, 8))]


def test_no_child_outlives_the_main_process(upperd: Upperd) -> None:
    """The client of a killed daemon sees the end of its connection, rather than waiting."""
    upperd.without_socket_unit()
    upperd.systemctl("start", "upperd")
    with upperd.connect() as connection:
        connection.sendall(b"hello\n")
        assert connection.recv(64) == b"HELLO\n"
        pid = upperd.kill_main(signal.SIGKILL)

        assert connection.recv(64) == b""
    upperd.wait_for_another_main(pid)

    assert upperd.ask("new") == "NEW"


@pytest.mark.parametrize("kind", ["socket unit", "own socket"])
def test_clients_without_pause(upperd: Upperd, kind: str) -> None:
    """Eight clients that come and go while the main process is killed five times all get their answers.

    A question that was cut by a kill may be asked again (see TRIES).
    """
    if kind == "own socket":
        upperd.without_socket_unit()
    upperd.systemctl("start", "upperd")
    with asking(upperd.machine, [upperd.socket], may_retry=True) as clients:
        for _ in range(KILLS):
            pid = upperd.kill_main(signal.SIGKILL)
            upperd.wait_for_another_main(pid)
            wait_for_progress(clients)
    # A lost client would have waited for its deadline; one that was cut notices at once.
    assert sum(client.retried for client in clients) <= KILLS * len(clients)
