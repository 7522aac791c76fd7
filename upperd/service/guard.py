"""The guard at the door: who may come in, by the operator's rules, and who must stay out for a while.

A child asks it about every peer before it reads a byte. The rules and the penalties stand in shared memory, which the
parent alone writes, so that a child that has been waiting since before a reload goes by the rules of now.

The order of the rules is that of s6-ipcserver-access: what is said of the user, then of a group of the user's, then the
default: nobody else where anybody is allowed by name, everybody where nobody is. A user that is not known (TCP) is
matched by no rule.

An abstract socket has no permissions, so where nobody is allowed by name only root and our own user may come in by it.

The rules lie in two halves, of which one holds: a child that reads the old one while the parent writes the other reads
what held a moment ago.
"""

from __future__ import annotations

import errno
import mmap
import os
from _socket import SOL_SOCKET as _SOL_SOCKET

from upperd.server.layout import BUSY, CROWD, DOOR, HEADER, REFUSED_ACCESS, REFUSED_RATE, UNKNOWN, cell
from upperd.server.slot import now_usec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from socket import socket
    from typing import Any

    from upperd.server.scoreboard import Scoreboard

LONGEST_LIST = 1024
"""Numbers in each of the three lists at most."""
PENALTIES = 256
"""Users that are kept out at one time, at most: of more, those whose time is over first come in again."""

_RULES, _PENALISED = HEADER["rules"], HEADER["penalised"]
_HALF, _DENIED, _USERS, _GROUPS = range(4)
"""Words: which half holds; and in each half, from its beginning: how many numbers are in the lists."""
_LISTS = 4
_HALF_WORDS = _LISTS + 3 * LONGEST_LIST
_KEPT_OUT = 1 + 2 * _HALF_WORDS
_UNTIL = _KEPT_OUT + PENALTIES
_SIZE = (_UNTIL + PENALTIES) * 8

_SO_PEERGROUPS = 59
"""Of asm-generic/socket.h; Python has no name for it (unix(7) does not mention it, Linux has it since 4.13)."""
_MOST_BY_PYTHON = 1024
"""Bytes: socket.getsockopt() takes no larger buffer."""
_MOST_GROUPS = 65536
"""NGROUPS_MAX of linux/limits.h."""


class Guard:
    """The rules and the penalties of one daemon. What the parent writes is followed by every child at once."""

    def __init__(self, board: Scoreboard) -> None:
        self._board = board
        self._words = memoryview(mmap.mmap(-1, _SIZE)).cast("Q")
        self._kept_out = self._words[_KEPT_OUT:_UNTIL]
        self._header = board.header
        self._rules: tuple[Collection[int], ...] = ([], [], [])
        self._version = 0
        # What is said of users by name, as of that version: a child that was forked since then need not read the lists.
        self._welcome: frozenset[int] = frozenset()
        self._denied: frozenset[int] = frozenset()
        self._is_open = True
        self.has_private = False
        """Whether there is a listener by which not everybody comes in where nobody is allowed by name."""

    # The parent's side

    @property
    def has_rules(self) -> bool:
        """Whether anybody is denied, or allowed by name."""
        return any(self._rules)

    def set_rules(self, denied: Collection[int], users: Collection[int], groups: Collection[int]) -> bool:
        """Go by these uids and gids from now on, each at most LONGEST_LIST. Returns whether they are other ones."""
        rules = (denied, users, groups)
        if rules == self._rules:
            return False
        self._rules = rules
        half = 1 - int(self._words[_HALF])
        start = place = 1 + half * _HALF_WORDS
        place += _LISTS
        for kind, numbers in enumerate(rules):
            self._words[start + _DENIED + kind] = len(numbers)
            for number in numbers:
                self._words[place] = number
                place += 1
        self._denied, self._welcome = frozenset(denied), frozenset(users).difference(denied)
        self._is_open = not (users or groups)
        self._words[_HALF] = half
        self._version += 1
        self._board["rules"] = self._version
        return True

    def keep_out(self, uid: int, until_usec: int, now: int) -> None:
        """Refuse this user until then (see slot.now_usec)."""
        self.let_in(now)
        until = self._words[_UNTIL:]
        word, words = cell(BUSY, uid), self._kept_out.tolist()
        index = words.index(word) if word in words else min(range(PENALTIES), key=lambda place: int(until[place]))
        until[index] = until_usec
        self._kept_out[index] = word
        self._count()

    def let_in(self, now: int) -> None:
        """Forget those whose time is over."""
        for index in range(PENALTIES):
            if self._kept_out[index] and self._words[_UNTIL + index] <= now:
                self._kept_out[index] = self._words[_UNTIL + index] = 0
        self._count()

    def let_everybody_in(self) -> None:
        """Forget all of them."""
        for index in range(PENALTIES):
            self._kept_out[index] = self._words[_UNTIL + index] = 0
        self._count()

    def _count(self) -> None:
        self._board["penalised"] = PENALTIES - self._kept_out.tolist().count(0)
        self.stand()

    def stand(self) -> None:
        """Have the children ask, if there is anything to ask for."""
        board = self._board
        door = DOOR if self.has_rules or self.has_private or board["penalised"] > 0 else 0
        crowd = CROWD if board["max_children_per_user"] > 0 else 0
        board["guarded"] = board["guarded"] & ~(DOOR | CROWD) | door | crowd

    # The child's side

    def refusal(self, request: Any, uid: int, gid: int) -> int:
        """Why this peer may not come in, as the field to count it in; 0: it may."""
        header = self._header
        is_known = header[_RULES] == self._version
        is_welcome = is_known and (uid in self._welcome or (self._is_open and uid not in self._denied))
        if not is_welcome and not self.allows(request, uid, gid):
            return REFUSED_ACCESS
        return REFUSED_RATE if header[_PENALISED] and self._is_kept_out(uid) else 0

    def rules(self) -> int:
        """How often the rules have changed by now."""
        return self._board["rules"]

    def allows(self, request: Any, uid: int, gid: int) -> bool:
        """Whether the rules let this peer in."""
        start = 1 + int(self._words[_HALF]) * _HALF_WORDS
        denied, users, groups = (int(self._words[start + kind]) for kind in (_DENIED, _USERS, _GROUPS))
        numbers = self._words[start + _LISTS : start + _LISTS + denied + users + groups].tolist()
        if uid == UNKNOWN:
            return not (users or groups)
        if uid in numbers[:denied]:
            return False
        if uid in numbers[denied : denied + users]:
            return True
        if not groups:
            return not users
        allowed = set(numbers[denied + users :])
        return gid in allowed or not allowed.isdisjoint(peer_groups(request))

    def names_anybody(self) -> bool:
        """Whether the rules allow anybody by name."""
        start = 1 + int(self._words[_HALF]) * _HALF_WORDS
        return bool(self._words[start + _USERS] or self._words[start + _GROUPS])

    def _is_kept_out(self, uid: int) -> bool:
        word, words = cell(BUSY, uid), self._kept_out.tolist()
        return word in words and bool(self._words[_UNTIL + words.index(word)] > now_usec())


class PrivateGuard:
    """The guard of an abstract socket: as the other; but where nobody is allowed by name, root and our own user are."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._own = (0, os.geteuid())
        self.rules = guard.rules
        guard.has_private = True
        guard.stand()

    def refusal(self, request: Any, uid: int, gid: int) -> int:
        """As that of Guard."""
        return self._guard.refusal(request, uid, gid) if self._is_for(uid) else REFUSED_ACCESS

    def allows(self, request: Any, uid: int, gid: int) -> bool:
        """As that of Guard."""
        return self._is_for(uid) and self._guard.allows(request, uid, gid)

    def _is_for(self, uid: int) -> bool:
        return uid in self._own or self._guard.names_anybody()


def guard_of(sock: socket, guard: Guard) -> Guard | PrivateGuard:
    """Who stands at the door of this listener, or of the one that this connection came by: it has the same name."""
    return PrivateGuard(guard) if isinstance(sock.getsockname(), bytes) else guard


def peer_groups(request: Any) -> list[int]:
    """The supplementary groups of a Unix peer when it connected; none where they cannot be had (TCP).

    SO_PEERGROUPS, a list of gid_t (Linux, net/core/sock.c, sk_getsockopt).
    """
    try:
        found = request.getsockopt(_SOL_SOCKET, _SO_PEERGROUPS, _MOST_BY_PYTHON)
    except OSError as error:
        if error.errno != errno.ERANGE:
            return []
        found = _many_peer_groups(request.fileno())
    return memoryview(found).cast("I").tolist()


def _many_peer_groups(descriptor: int) -> bytes:
    """The same, for a peer of more than 256 groups: beyond what socket.getsockopt() can ask for."""
    import ctypes  # for this one child alone

    size = ctypes.c_uint(_MOST_GROUPS * 4)
    buffer = ctypes.create_string_buffer(size.value)
    if ctypes.CDLL(None).getsockopt(descriptor, _SOL_SOCKET, _SO_PEERGROUPS, buffer, ctypes.byref(size)) != 0:
        return b""
    return buffer.raw[: size.value]
