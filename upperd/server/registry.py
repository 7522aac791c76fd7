"""What no child may keep: the descriptors of every server in this program.

A child that kept the parent's end of another child's channel would keep the end of file from it, for ever; one that
kept a listener could accept anybody's connection. So each parent says here what it has open, and each child closes all
of that, whichever server it was forked for.

Servers may be served in several threads. A descriptor that one of them opens or closes while another forks would be
inherited and not stand here, so each is done with `lock` held. No code of a subclass runs meanwhile.
"""

from __future__ import annotations

from _thread import RLock
from os import closerange, sysconf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

owners: set[Any] = set()
"""Every parent and every server in this process that is not closed; each has `descriptors()`, -1 standing for none."""
lock = RLock()
"""One thread may take it again: in a signal handler."""


def ranges_to_close(keep: Iterable[int], *, everything: bool, besides: Iterable[int] = ()) -> list[tuple[int, int]]:
    """What a child is to close, as ranges of os.closerange(): `everything` but `keep`, or an owner's, and `besides`.

    In the parent, before the fork: a child has a page to copy for each object that it looks at. What else the program
    has open stays, as under the stock ForkingMixIn.
    """
    if everything:
        kept = sorted(set(keep))
        gaps = zip([-1, *kept], [*kept, max(sysconf("SC_OPEN_MAX"), kept[-1] + 1)], strict=True)
        return [(low + 1, high) for low, high in gaps if low + 1 < high]  # an empty one at 0 would stand for all
    open_ones = {number for owner in owners for number in owner.descriptors()}
    return [(number, number + 1) for number in open_ones.union(besides).difference(keep) if number >= 0]


def become_child(ranges: Iterable[tuple[int, int]]) -> None:
    """In a child: close these, and have no owners; servers of the child's own are its owners."""
    for low, high in ranges:
        closerange(low, high)  # it passes over what is closed already
    owners.clear()
    lock.release()
