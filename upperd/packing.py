"""Packing: what a child writes to lies side by side, in a few pages instead of a page each.

After a fork every page that is written is copied, and a call writes: to the reference counts of the function and of
its code, and to the caches between its instructions. The functions that a child runs lie among those that it does not,
wherever their modules were loaded: some fifty objects, on as many pages. So they are made anew, one after the other.

They come to lie one after the other because the parent's objects are all malloc's, whatever their size (cli.py sets
PYTHONMALLOC), and because the gaps between what is in use are filled first. What the parent makes after that, its
scoreboard, its servers, what it allocates and frees all the time, lies there, too. With Python's own allocator, which
keeps a place for each size, nothing is done. The law: nothing here changes what a function does.
"""

from __future__ import annotations

import gc
import os
import sys
from types import FunctionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import CodeType, FrameType

_ROOM = 100_000
"""Bytes left free in one piece for what comes after the filling: less than malloc takes from mmap(2)."""
_MOST_FILLED = 64
"""Pieces of that size taken at most: objects that mmap(2) gave lie above all of the heap."""
_LARGEST_GAP = 65536
_CACHED = 1024
"""Bytes: what is freed up to this size malloc keeps for the next request of that size (malloc's tcache)."""
_HEADER = sys.getsizeof(b"")

_kept: list[object] = []
"""What fills the gaps, and the functions that were replaced: freed, they would be gaps again."""


def is_possible() -> bool:
    """Whether objects of any size come to lie side by side."""
    return os.environ.get("PYTHONMALLOC") == "malloc"


def codes_run_by(call: Callable[[], object]) -> set[CodeType]:
    """The code of every function of Python that `call` runs."""
    codes: set[CodeType] = set()

    def note(frame: FrameType, event: str, argument: object) -> None:
        codes.add(frame.f_code)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return codes


def codes_of(classes: Iterable[type]) -> set[CodeType]:
    """The code of every function of these classes."""
    return {value.__code__ for owner in classes for value in vars(owner).values() if isinstance(value, FunctionType)}


def pack(classes: Iterable[type], *groups: set[CodeType]) -> None:
    """Make the functions of these classes anew whose codes are in `groups`: first the first group, and so on."""
    _kept.append((classes, groups))
    group_of = {code: number for number, group in reversed([*enumerate(groups)]) for code in group}
    found = [
        (group_of[function.__code__], -len(function.__code__.co_code), owner, name, function)
        for owner in classes
        for name, function in vars(owner).items()
        if isinstance(function, FunctionType) and function.__code__ in group_of
    ]
    # The largest first: what copying allocates and frees then has room for the next.
    found.sort(key=lambda item: item[:2])
    for item in found:
        _copy(item[-1])  # the first copy fills caches of the original
    if is_possible():
        _fill_gaps()
    copies = [_copy(item[-1]) for item in found]
    for (_, _, owner, name, _), copy in zip(found, copies, strict=True):
        setattr(owner, name, copy)
    _kept.append((found, group_of))


def _copy(function: FunctionType) -> FunctionType:
    code, closure = function.__code__.replace(), function.__closure__
    copy = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, closure)
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__qualname__ = function.__qualname__
    copy.__annotations__ = function.__annotations__
    return copy


def _fill_gaps() -> None:
    """Take what lies free below a piece of _ROOM bytes at the upper end, which then is all that is free."""
    highest = max(map(id, gc.get_objects()))
    room = b"-" * _ROOM
    for _ in range(_MOST_FILLED):
        if id(room) > highest:
            break
        _kept.append(room)
        room = b"-" * _ROOM
    size = _LARGEST_GAP
    while size > _HEADER:
        block = b"-" * (size - _HEADER)
        is_gap = id(block) < id(room)
        if is_gap or size <= _CACHED:
            _kept.append(block)
        if not is_gap:
            size -= 16 if size <= _CACHED else size // 8 & ~15
