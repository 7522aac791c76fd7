"""A child has ended: its row becomes its account, and is counted.

The law: the board's header and the row, nothing else. What follows from an end is the parent's.
"""

from __future__ import annotations

from signal import SIGKILL

from upperd.server.layout import CUT, OUTCOME
from upperd.server.observer import End

TYPE_CHECKING = False
if TYPE_CHECKING:
    from resource import struct_rusage

    from upperd.server.children import Living
    from upperd.server.scoreboard import Scoreboard

_SIGKILL = int(SIGKILL)


def close_account(
    board: Scoreboard, child: Living, status: int | None, rusage: struct_rusage | None, is_cutting: bool
) -> End:
    """Free the child's row, and count how it ended. `is_cutting`: the deadline of a drain is over."""
    end = End(child.pid, status, rusage, tuple(board.words(child.index)))
    end.was_cut = end.words[OUTCOME] == CUT
    end.was_killed = status == _SIGKILL and is_cutting
    end.was_overdue = child.is_overdue and status == _SIGKILL
    board.release(child.index)
    board.add("ended")
    if end.was_overdue:
        board.add("overdue")
    elif end.was_killed:
        board.add("killed")
    elif end.was_cut:
        board.add("cut")
    elif end.is_abnormal:
        board.add("crashed")
    return end
