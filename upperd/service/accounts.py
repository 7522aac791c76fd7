"""Users and groups as the operator writes them, a name or a number, as numbers. For the launcher: see options.py."""

from __future__ import annotations

HIGHEST = 2**32 - 2
"""The highest uid and gid: the next one means "none" (chown(2))."""


class AccountError(Exception):
    """There is no such user or group. The text says which."""


def uid_of(word: str) -> int:
    """The uid of a user, by name or number. Raises AccountError."""
    import pwd  # here and below: most operators name nobody

    number = _number(word, "user")
    try:
        return pwd.getpwnam(word).pw_uid if number is None else number
    except (KeyError, ValueError):
        raise AccountError(f"no user {word!r} on this host") from None


def gid_of(word: str) -> int:
    """The gid of a group, by name or number. Raises AccountError."""
    import grp

    number = _number(word, "group")
    try:
        return grp.getgrnam(word).gr_gid if number is None else number
    except (KeyError, ValueError):
        raise AccountError(f"no group {word!r} on this host") from None


def _number(word: str, kind: str) -> int | None:
    if not (word.isascii() and word.isdigit()):
        return None
    if len(word) > 10 or int(word) > HIGHEST:
        raise AccountError(f"{word!r} is no {kind}: the highest number is {HIGHEST}")
    return int(word)
