"""--idle-exit under its socket unit: the service leaves when it is not needed, and no client notices."""

import os
import select

from installed import DEADLINE, Upperd
from machine import wait_until

# 1,000 take five minutes; the rounds in CI show that none is special.
LEAVES = int(os.environ.get("UPPERD_IDLE_LEAVES", "60"))
IDLE_SECONDS = 0.05


def test_service_leaves_and_comes_back(upperd: Upperd) -> None:
    """An idle service ends with success, and its next client starts it again."""
    upperd.configure("idle-exit = 1\n")
    upperd.systemctl("start", "upperd")
    wait_until(lambda: upperd.property("ActiveState") == "inactive", DEADLINE, "it has left")

    assert upperd.property("Result") == "success"
    assert upperd.ask("wake up") == "WAKE UP"


def test_nobody_notices(upperd: Upperd) -> None:
    """Clients that connect at the very moment of leaving are all served, and no start limit stops the units."""
    upperd.configure(f"idle-exit = {IDLE_SECONDS}\n")
    upperd.systemctl("start", "upperd")
    leaves, last, number = 0, upperd.main_pid(), 0
    while leaves < LEAVES:
        number += 1
        assert number < 40 * LEAVES, "it hardly ever leaves"
        select.select([], [], [], IDLE_SECONDS - 0.01 + 0.002 * (number % 10))
        assert upperd.ask(f"question {number}") == f"QUESTION {number}"
        main = upperd.main_pid()
        leaves += main != last
        last = main
    assert upperd.systemctl("is-active", "upperd.socket") == "active"
