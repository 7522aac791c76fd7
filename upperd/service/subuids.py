"""Subordinate uids: those that a user may have besides its own, in a user namespace (subuid(5), newuidmap(1)).

To the kernel they are users like any other. To us they count as their owner, or a user with a range of them would have
the limits of as many users, and come in where it is denied by name.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PATH = "/etc/subuid"
_NEVER = 2**64
MOST_RANGES = 2048
"""They are handed over on a command line."""
_MOST_DIGITS = 10
_ROOT = 0


def read_ranges(path: str = PATH) -> tuple[tuple[int, ...], str]:
    """In the launcher: the ranges as (first, count, owner, first, count, owner, ...), and what is wrong; "": nothing.

    Those of root are left out: a container of root's is not to have root's rights. So are lines that are broken, and
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
    """Whose the subordinate uids are."""

    def __init__(self, ranges: Sequence[int] = ()) -> None:
        """`ranges`: as `read_ranges` has them."""
        self._ranges = list(zip(ranges[::3], ranges[1::3], ranges[2::3], strict=True))
        self._lowest = min(ranges[::3], default=_NEVER)

    def of(self, uid: int) -> int:
        """The owner of this uid, by the first range that has it; where none has, the uid itself."""
        if uid < self._lowest:  # as nearly every user's
            return uid
        return next((owner for first, count, owner in self._ranges if first <= uid < first + count), uid)
