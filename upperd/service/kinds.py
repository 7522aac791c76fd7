"""The kinds of values that options take: how each is parsed, checked and converted. Knows no option (options.py)."""

from __future__ import annotations

import os

from upperd.base import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

HIGHEST_ID = 2**32 - 2
"""The highest uid and gid: the next number, which is -1, means "no change" (chown(2))."""
LONGEST_LIST = 1024
"""The most users or groups in one option: all of them must fit on the parent's command line."""


class Kind:
    """One kind of value."""

    def __init__(
        self,
        metavar: str,
        must: str,
        is_right: Callable[[Any], bool],
        meaning: Callable[[Any], Any] = lambda value: value,
        read: Callable[[str], Any] = str,
        *,
        is_list: bool = False,
    ) -> None:
        """`metavar`: the name of the value in the help; empty: the flag takes no value, and means true.

        `must`: what a value must be, in words. `is_right`: whether a value is that. `meaning`: converts a right value
        to what the daemon uses; raises ValueError, with a text. `read`: parses a word of the command line; raises
        ValueError. `is_list`: the option may be repeated.
        """
        self.metavar, self.must, self.is_list = metavar, must, is_list
        self.is_right, self.meaning, self.read = is_right, meaning, read


def whole(low: int, high: int, metavar: str = "N") -> Kind:
    """A whole number from `low` to `high`."""
    must = f"a whole number from {low} to {high}"
    return Kind(metavar, must, lambda value: type(value) is int and low <= value <= high, read=int)


def number(high: float) -> Kind:
    """A number from 0 to `high`."""
    must = f"a number from 0 to {high:.10g}"
    return Kind("N", must, lambda value: type(value) in (int, float) and 0 <= value <= high, float, float)


def time(high: float) -> Kind:
    """A time from 0 to `high` seconds: a number of seconds, or text with units."""
    must = f"a time from 0 to {high:.10g} seconds, such as 30, 500ms or 2min"
    return Kind("SECONDS", must, lambda value: 0 <= _seconds(value) <= high, _seconds, float)


def choice(metavar: str, *words: str) -> Kind:
    """One of `words`."""
    return Kind(metavar, f"one of {', '.join(words)}", lambda value: value in words)


def _seconds(value: Any) -> float:
    """The seconds that a value means; -1 if it is not a time."""
    if isinstance(value, str):
        from upperd.base.times import seconds  # imported here, since most times are numbers

        try:
            return seconds(value)
        except ValueError:
            return -1.0
    return float(value) if type(value) is float or (type(value) is int and abs(value) < 2**63) else -1.0


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and "\0" not in value and "\n" not in value


def _is_address(value: Any) -> bool:
    host, colon, port = value.rpartition(":") if _is_text(value) else ("", "", "")
    return bool(colon and host and port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 65536)


def _is_mode(value: Any) -> bool:
    """Whether this is a mode that lets at least one user in: three octal digits, with or without a leading zero."""
    text = value if isinstance(value, str) else ""
    digits = text[1:] if len(text) == 4 and text[0] == "0" else text
    return len(digits) == 3 and not digits.strip("01234567") and digits != "000"


def _is_account(value: Any) -> bool:
    return isinstance(value, str) or (type(value) is int and 0 <= value <= HIGHEST_ID)


def _is_folders(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(_is_text(folder) and folder for folder in value)


def _is_reference(value: Any) -> bool:
    where, _, name = value.rpartition(":") if _is_text(value) else ("", "", "")
    return bool(where) and all(map(str.isidentifier, name.split(".")))


def _is_accounts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(map(_is_account, value))


def _socket(value: str) -> str:
    if complaint := paths.complaint_about(value):
        raise ValueError(f"{complaint}; write a path that begins with @ as ./@...")
    return value


def _reference(value: str) -> str:
    """Make the path of a file absolute; keep the name of a module. Raises ValueError."""
    where, _, name = value.rpartition(":")
    if "/" in where:
        return f"{os.path.abspath(where)}:{name}"
    if not all(map(str.isidentifier, where.split("."))):
        raise ValueError(f"{where!r} is not a module name; name a file by its path: ./{where}:{name}")
    return value


def _folders(values: list[str]) -> str:
    """Make folders absolute and join them as in PYTHONPATH. Raises ValueError."""
    for value in values:
        if os.pathsep in value:
            raise ValueError(f"{value!r}: a folder in Python's path cannot have {os.pathsep!r} in its name")
        if not os.path.isdir(value):
            raise ValueError(f"{value!r} is not a folder")
    return os.pathsep.join(map(os.path.abspath, values))


def _account(word: str | int, what: str) -> int:
    """The number of a user or group; `what`: "user" or "group". Raises ValueError."""
    import grp  # imported here, since most operators name no account
    import pwd

    word = str(word)
    if word.isascii() and word.isdigit():
        if len(word) > 10 or int(word) > HIGHEST_ID:
            raise ValueError(f"{word!r} is not a {what}: the highest number is {HIGHEST_ID}")
        return int(word)
    try:
        return pwd.getpwnam(word).pw_uid if what == "user" else grp.getgrnam(word).gr_gid
    except (KeyError, ValueError):
        raise ValueError(f"no {what} {word!r} on this host") from None


def _accounts(words: list[str | int], what: str) -> tuple[int, ...]:
    if len(words) > LONGEST_LIST:
        raise ValueError(f"{len(words)} names are too many: at most {LONGEST_LIST}")
    return tuple(sorted({_account(word, what) for word in words}))


_NAME = f"a name, or a number from 0 to {HIGHEST_ID}"
_NAMES = f"a list of names, or of numbers from 0 to {HIGHEST_ID}"

SWITCH = Kind(
    "", "true or false", lambda value: isinstance(value, bool), read={"true": True, "false": False}.__getitem__
)
FILE = Kind("FILE", "text of one line", _is_text)
SOCKET = Kind("PATH", "text of one line", _is_text, _socket)
NAME = Kind(
    "NAME", f"PROGRAM or PROGRAM@INSTANCE of letters, digits and -_., at most {paths.LONGEST_NAME} characters",
    lambda value: isinstance(value, str) and paths.is_name(value),
)  # fmt: skip
HANDLER = Kind(
    "MODULE:CLASS", "MODULE:CLASS or FILE:CLASS, such as shout:Shout or ./shout.py:Shout", _is_reference, _reference
)
FOLDERS = Kind("FOLDER", "a list of folders", _is_folders, _folders, is_list=True)
ADDRESS = Kind("HOST:PORT", f"HOST:PORT, such as {paths.FALLBACK_TCP} or [::1]:9999", _is_address)
PID = whole(1, 2**22, "PID")
MODE = Kind("MODE", "octal, such as 0660", _is_mode, lambda value: int(value, 8))
USER = Kind("USER", _NAME, _is_account, lambda word: _account(word, "user"))
GROUP = Kind("GROUP", _NAME, _is_account, lambda word: _account(word, "group"))
USERS = Kind("USER", _NAMES, _is_accounts, lambda words: _accounts(words, "user"), is_list=True)
GROUPS = Kind("GROUP", _NAMES, _is_accounts, lambda words: _accounts(words, "group"), is_list=True)
