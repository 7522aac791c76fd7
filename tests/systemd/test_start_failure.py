"""A service that cannot start says why, retries at intervals, and recovers by itself."""

import errno
import re
import socket
import time
from contextlib import closing

import pytest
from installed import DEADLINE, Upperd, read_to_end
from machine import wait_until

FAILURES = {
    "bad file": ("max-children = 0\n", "78", errno.EINVAL, "max-children is 0"),
    "no such folder": ('socket = "/nowhere/upperd.sock"\n', "73", errno.ENOENT, "cannot listen on /nowhere"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_reason_is_shown(upperd: Upperd, failure: str) -> None:
    """A failed start shows its reason in status and journal, with errno and the fixed exit code."""
    config, status, number, text = FAILURES[failure]
    upperd.without_socket_unit()
    upperd.configure(config)
    upperd.change_service("RestartSec=60s")  # the next start would clear the reason
    done = upperd.machine.run("systemctl", "start", "upperd", check=False)

    assert done.returncode != 0
    assert upperd.property("ExecMainStatus") == status
    assert upperd.property("StatusErrno") == str(number)
    assert text in upperd.property("StatusText")
    assert text in upperd.journal()


def test_socket_unit_outlives_failing_starts(upperd: Upperd) -> None:
    """However often the service fails to start, its socket unit stays up, and its client is served in the end."""
    upperd.configure("max-children = 0\n")
    upperd.systemctl("start", "upperd.socket")
    with closing(upperd.connect()) as client:
        client.sendall(b"patience")
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: int(upperd.property("NRestarts")) >= 3, DEADLINE, "it has failed again and again")
        assert upperd.systemctl("is-active", "upperd.socket") == "active"
        upperd.configure("")

        assert read_to_end(client) == "PATIENCE"
    # A child may serve before the manager has read READY=1.
    wait_until(lambda: upperd.property("ActiveState") == "active", DEADLINE, "it is active")


def test_starts_become_rare(upperd: Upperd) -> None:
    """With a wrong configuration starts become ever slower, with few log lines; once mended, the service recovers."""
    upperd.configure("max-children = 0\n")
    upperd.systemctl("start", "upperd.socket")
    began = time.monotonic()
    with closing(upperd.connect()) as client:
        client.sendall(b"patience")
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: time.monotonic() > began + 20, 2 * DEADLINE, "twenty seconds pass")
        assert int(upperd.property("NRestarts")) <= 5
        assert len(upperd.journal().splitlines()) <= 60
        assert upperd.systemctl("is-active", "upperd.socket") == "active"
        plan = r"max-children is 0.*; the next start is in \d+ s, or when /etc/upperd/upperd.toml is changed"
        # Empty for a moment while it starts.
        wait_until(lambda: re.search(plan, upperd.property("StatusText")), DEADLINE, "its status has the reason")
        upperd.configure("")
        assert read_to_end(client) == "PATIENCE"
    upperd.configure("max-children = 0\n")
    assert upperd.machine.run("systemctl", "restart", "upperd", check=False).returncode != 0
    wait_until(lambda: "max-children is 0" in upperd.property("StatusText"), DEADLINE, "its status has the reason")
