"""`systemctl stop` waits as long as the daemon announced, and no longer."""

import time

from installed import DEADLINE, Upperd
from machine import wait_until

LINE = b"as long as nobody reads the answers, the daemon has to wait\n"
DRAIN_SECONDS = 4


def test_stop_waits_for_the_drain(upperd: Upperd) -> None:
    """A stuck transfer is cut at the daemon's own deadline, not at a shorter one of the unit."""
    upperd.change_service("TimeoutStopSec=1s")
    upperd.configure(f"drain-timeout = {DRAIN_SECONDS}\n")
    upperd.systemctl("start", "upperd")
    with upperd.connect() as connection:
        connection.setblocking(False)
        refused = 0
        while refused < 10:  # until all buffers are full
            try:
                connection.send(LINE * 1000)
            except BlockingIOError:
                refused += 1
                wait_until(lambda: upperd.stats()["bytes_in"] > 0, DEADLINE, "the daemon reads")
        began = time.monotonic()
        upperd.systemctl("stop", "upperd.socket", "upperd.service")
        lasted = time.monotonic() - began

    assert upperd.property("Result") == "success"
    assert DRAIN_SECONDS <= lasted < DRAIN_SECONDS + DEADLINE
    journal = upperd.journal()
    assert "1 connection is cut" in journal
    assert "was killed at the drain deadline" in journal or "was cut at the drain deadline" in journal
