"""Messages from children to the parent, and signals from the parent to them.

The parent trusts a message only as far as it concerns the child's own user, and a message costs at most one turn of the
loop for each connection. The parent never signals a reaped process: another process may have its pid.
"""

from __future__ import annotations

import os
import signal

from upperd.server import handover
from upperd.server.row import Row

TYPE_CHECKING = False
if TYPE_CHECKING:
    from upperd.server.parent import Parent
    from upperd.server.roster import Child

MOST_ANSWERS = 16
"""The most answers to one datagram; a child that sends more is killed."""


def hear(parent: Parent, child: Child) -> bool:
    """Act on the next message of a child. Returns False if the child has ended."""
    try:
        said = handover.hear(child.control, takes_answers=child.pool > 0)
    except BlockingIOError:
        return True
    except ConnectionResetError:
        child.has_unread = True
        return False
    if said is None:
        return False
    answer, place = said
    if answer is not None:
        _send_answer(child, answer, place)
    elif child.ready_by:
        child.ready_by = 0.0
    else:
        child.told += 1
        parent.roster.settle(child)
        if child.told > child.handed:  # each message costs a turn of the loop
            kill(child, "unruly")
    return True


def _send_answer(child: Child, data: bytes, place: int) -> None:
    """Send the answer to the datagram that a child serves."""
    child.answers += 1
    if child.connection is None or child.answers > MOST_ANSWERS:
        kill(child, "unruly")
    else:
        child.connection.server.send_answer(child.connection, Row(child.row), data, place)
    if place >= 0:
        os.close(place)


def kill(child: Child, reason: str) -> None:
    child.killed_for = child.killed_for or reason
    send_signal(child, signal.SIGKILL)


def send_signal(child: Child, number: signal.Signals) -> None:
    """Send a signal to a child, unless it was reaped."""
    if child.is_reaped:
        return
    try:
        os.kill(child.pid, number)
    except ProcessLookupError:
        pass  # something else in the program has reaped it
