"""The output of `systemctl status`."""

import re

from installed import DEADLINE, Upperd
from machine import wait_until


def status_line(upperd: Upperd) -> str:
    """The line that the daemon sent, as the administrator sees it."""
    shown = upperd.systemctl("status", "--no-pager", "upperd")
    found = re.search(r'^ *Status: "(.*)"$', shown, re.MULTILINE)
    return found[1] if found else ""


def test_status_is_shown(upperd: Upperd) -> None:
    """`systemctl status upperd` shows the state of the children right after the start."""
    upperd.systemctl("start", "upperd")

    assert "64" in status_line(upperd)


def test_status_follows_the_connections(upperd: Upperd) -> None:
    """The line changes when a client comes."""
    upperd.systemctl("start", "upperd")
    before = status_line(upperd)
    with upperd.connect():
        wait_until(lambda: status_line(upperd) != before, DEADLINE, "the status has changed")


def test_titles(upperd: Upperd) -> None:
    """The process tree of `systemctl status` shows the role of each process, and no command line."""
    upperd.systemctl("start", "upperd")
    with upperd.connect() as connection:
        connection.sendall(b"hello\n")
        assert connection.recv(64) == b"HELLO\n"
        shown = upperd.systemctl("status", "--no-pager", "--full", "upperd")

    assert '"upperd: main process"' in shown
    assert '"upperd: serves uid 0"' in shown
    assert '"upperd: waits for a connection"' in shown
    assert "lean.py" not in shown
