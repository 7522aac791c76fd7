"""Finds the owners of subordinate uids: those that a user may use in a user namespace (subuid(5), newuidmap(1)).

To the kernel they are uids like any other. Here they count as their owner. Otherwise a user with a range of them would
have the limits of as many users, and could connect although a rule denies it by name.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PATH = "/etc/subuid"
_NEVER = 2**64
MOST_RANGES = 2048
"""The most ranges: they must fit on the parent's command line."""
_MOST_DIGITS = 10
_ROOT = 0


def read_ranges(path: str = PATH) -> tuple[tuple[int, ...], str]:
    """In the launcher: the ranges as (first, count, owner, first, count, owner, ...), and what is wrong; "": nothing.

    Ranges of root are left out: a container of root must not have root's rights. So are lines that are invalid, and
    owners that this host does not know.
    """
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()
    except FileNotFoundError:
        return (), ""
    except OSError as error:
        return (), f"{path}: {error.strerror}: a user's subordinate uids count as users of their own"
    found: list[int] = []
    for line in lines:
        name, first, count = [*line.split(":"), "", ""][:3]
        is_range = first.isdecimal() and count.isdecimal() and max(len(first), len(count)) <= _MOST_DIGITS
        if is_range and int(first) and int(count) and (owner := _uid_of(name)) != _ROOT:
            found += int(first), int(count), owner
    if len(found) > 3 * MOST_RANGES:
        return tuple(found[: 3 * MOST_RANGES]), f"{path} has more than {MOST_RANGES} ranges, ignoring the others"
    return tuple(found), ""


def _uid_of(name: str) -> int:
    import pwd

    try:
        return int(name[:_MOST_DIGITS]) if name.isdecimal() else pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        return _ROOT


class Owners:
    """Finds the owner of a subordinate uid."""

    def __init__(self, ranges: Sequence[int] = ()) -> None:
        """`ranges`: as `read_ranges` returns them."""
        self._ranges = list(zip(ranges[::3], ranges[1::3], ranges[2::3], strict=True))
        self._lowest = min(ranges[::3], default=_NEVER)

    def of(self, uid: int) -> int:
        """The owner of the first range that contains this uid; if none does, the uid itself."""
        if uid < self._lowest:  # as nearly every uid is
            return uid
        return next((owner for first, count, owner in self._ranges if first <= uid < first + count), uid)
