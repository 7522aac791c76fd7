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


def become_child(keep: Iterable[int], *, everything: bool, besides: Iterable[int] = ()) -> None:
    """In a child: close `everything` but `keep`, or else what is an owner's, and `besides`.

    What else the program has open stays, as under the stock ForkingMixIn. Servers of the child's own are its owners.
    """
    if everything:
        kept = sorted(set(keep))
        for low, high in zip([-1, *kept], [*kept, max(sysconf("SC_OPEN_MAX"), kept[-1] + 1)], strict=True):
            if low + 1 < high:  # os.closerange() takes an empty range at 0 for all that there are
                closerange(low + 1, high)
    else:
        open_ones = {number for owner in owners for number in owner.descriptors()}
        for number in open_ones.union(besides).difference(keep):
            if number >= 0:
                closerange(number, number + 1)  # it passes over what is closed already
    owners.clear()
    lock.release()
