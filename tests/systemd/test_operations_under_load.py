"""During any sequence of operations on the service, without pause, its clients get their answers."""

import random
import signal

import pytest
from installed import DEADLINE, Upperd
from machine import wait_until
from questions import asking, wait_for_progress

OPERATIONS = ["restart"] * 20 + ["reload"] * 20 + ["kill"] * 5


@pytest.mark.parametrize("kind", ["socket unit", "own socket"])
def test_nothing_is_lost(upperd: Upperd, kind: str) -> None:
    """Eight clients of three users lose nothing in 20 restarts, 20 reloads and 5 kills in a mixed order.

    A question that was cut by a kill may be asked again; in a restart or a reload each is answered at once.
    """
    if kind == "own socket":
        upperd.without_socket_unit()
    upperd.systemctl("start", "upperd")
    operations = random.Random(5).sample(OPERATIONS, len(OPERATIONS))
    with asking(upperd.machine, [upperd.socket], may_retry=True) as clients:
        for number, operation in enumerate(operations):
            cut = sum(client.retried for client in clients)
            if operation == "kill":
                upperd.wait_for_another_main(upperd.kill_main(signal.SIGKILL))
            else:
                upperd.configure(f"max-children = {20 + number}\n")
                upperd.systemctl(operation, "upperd")
            wait_for_progress(clients)
            if operation != "kill":
                assert sum(client.retried for client in clients) == cut, f"operation {number}: {operation}"
    last = max(number for number, operation in enumerate(operations) if operation != "kill")
    wait_until(lambda: upperd.stats()["max_children"] == 20 + last, DEADLINE, "the last file is taken")
    assert upperd.property("ActiveState") == "active"
