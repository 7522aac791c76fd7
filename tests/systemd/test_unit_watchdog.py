"""The watchdog of the shipped unit."""

import signal

from installed import DEADLINE, Upperd
from machine import wait_until


def test_main_process_that_hangs_is_replaced(upperd: Upperd) -> None:
    """A main process whose loop no longer turns is killed, and the service recovers."""
    upperd.change_service("WatchdogSec=1s", "TimeoutAbortSec=1s")
    upperd.systemctl("start", "upperd")
    pid = upperd.kill_main(signal.SIGSTOP)
    upperd.wait_for_another_main(pid)

    assert upperd.property("NRestarts") == "1"
    assert upperd.ask("alive") == "ALIVE"


def test_main_process_that_turns_is_left_alone(upperd: Upperd) -> None:
    """The loop pings in time by itself, without a client to wake it."""
    upperd.change_service("WatchdogSec=4s")
    upperd.systemctl("start", "upperd")
    pings = {upperd.property("WatchdogTimestampMonotonic")}

    def has_pinged_often() -> bool:
        pings.add(upperd.property("WatchdogTimestampMonotonic"))
        return len(pings) > 4

    wait_until(has_pinged_often, DEADLINE, "four pings came")

    assert upperd.property("NRestarts") == "0"
