"""The descriptors that no child may keep: those of every server in this program.

If a child kept the parent's end of another child's channel, that child would never see the end of file; if it kept a
listener, it could accept any user's connection. So each parent registers here, and each child closes the descriptors of
all of them.

Servers may run in several threads. One thread must not open or close a descriptor while another forks, so both hold
`lock`. No code of a subclass runs meanwhile.
"""

from __future__ import annotations

import sys
from _thread import RLock
from os import closerange, sysconf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType
    from typing import Any

owners: set[Any] = set()
"""Every open parent and server in this process. Each has `descriptors()`, in which -1 means none."""
lock = RLock()
"""Reentrant, for signal handlers."""


def ranges_to_close(keep: Iterable[int], *, everything: bool, besides: Iterable[int] = ()) -> list[tuple[int, int]]:
    """The ranges that a child closes (os.closerange): `everything` but `keep`, or those of owners and `besides`.

    Called in the parent, before the fork, because each object that a child touches is a page to copy. Other descriptors
    of the program stay open, as under the stock ForkingMixIn.
    """
    if everything:
        kept = sorted(set(keep))
        gaps = zip([-1, *kept], [*kept, max(sysconf("SC_OPEN_MAX"), kept[-1] + 1)], strict=True)
        return [(low + 1, high) for low, high in gaps if low + 1 < high]  # closerange(0, 0) would close all
    open_ones = {number for owner in owners for number in owner.descriptors()}
    return [(number, number + 1) for number in open_ones.union(besides).difference(keep) if number >= 0]


def popen_pipes() -> Iterator[int]:
    """The pipe by which each subprocess.Popen that another thread is making learns that its program was executed.

    A child that kept one would have that thread wait until the child ends. Only where `subprocess` is loaded.
    """
    code = sys.modules["subprocess"].Popen._execute_child.__code__
    for newest in sys._current_frames().values():
        frame: FrameType | None = newest
        while frame is not None:
            if frame.f_code is code:
                yield frame.f_locals.get("errpipe_write", -1)
            frame = frame.f_back


def become_child(ranges: Iterable[tuple[int, int]]) -> None:
    """In a child: close these, and forget the parent's owners."""
    for low, high in ranges:
        closerange(low, high)  # ignores those that are closed already
    owners.clear()
    lock.release()
