"""Packing: what a child writes to lies side by side, in a few pages instead of a page each.

After a fork every page that is written is copied, and a call writes: to the reference counts of the function and of
its code, and to the caches between its instructions. The functions that a child runs lie among those that it does not,
wherever their modules were loaded: some fifty objects, on as many pages. So they are made anew, one after the other.
So is what they name: a function of C, a large number, a text is an object, too, whose reference count a use writes.
(A function of C can be had once only; a `functools.partial` of it is called without a write to the function itself.)

They come to lie one after the other because the parent's objects are all malloc's, whatever their size (cli.py sets
PYTHONMALLOC), and because the gaps between what is in use are filled first. What the parent makes after that, its
scoreboard, its servers, what it allocates and frees all the time, lies there, too. With Python's own allocator, which
keeps a place for each size, nothing is done. The law: nothing here changes what a function does.
"""

from __future__ import annotations

import builtins
import gc
import os
import sys
from functools import partial
from types import BuiltinFunctionType, CodeType, FunctionType, MethodDescriptorType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType
    from typing import Any

_ROOM = 100_000
"""Bytes left free in one piece for what comes after the filling: less than malloc takes from mmap(2)."""
_MOST_FILLED = 64
"""Pieces of that size taken at most: objects that mmap(2) gave lie above all of the heap."""
_LARGEST_GAP = 65536 + 8
"""This and every smaller size that is tried fills a piece of malloc's to its end: those are 16 n + 8 bytes."""
_MOST_FREE = 4_000_000
_MOST_SMALLEST = 10_000
"""Bytes and objects taken at most: some thirty times what is found after an ordinary start."""
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
    """Make the functions of these classes anew whose codes are in `groups`: first the first group, and so on.

    Before them comes what they name: for that, the global names in them stand for other objects afterwards.
    """
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
    functions = [item[-1] for item in found]
    names = _global_names(functions) if is_possible() else []
    copies, values = [*functions], [value for _, _, value in names]
    for function in functions:
        _copy(function)  # the first copy fills caches of the original
    if is_possible():
        fill_gaps()
    # From here on nothing is allocated but what is to lie side by side.
    for index, value in enumerate(values):
        values[index] = _anew(value)
    for index, function in enumerate(functions):
        copies[index] = _copy(function)
    for (_, _, owner, name, _), copy in zip(found, copies, strict=True):
        setattr(owner, name, copy)
    for (known, name, _), value in zip(names, values, strict=True):
        known[name] = value
    _kept.append((found, group_of, functions, names, copies, values))


def _copy(function: FunctionType) -> FunctionType:
    code, closure = _anew(function.__code__), function.__closure__
    copy = FunctionType(code, function.__globals__, function.__name__, function.__defaults__, closure)
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__qualname__ = function.__qualname__
    copy.__annotations__ = function.__annotations__
    if function.__dict__:
        copy.__dict__.update(function.__dict__)
    return copy


def _anew(value: Any) -> Any:
    """The same as another object, of the kinds that can be had; anything else as it is."""
    if isinstance(value, FunctionType):
        return _copy(value)
    if isinstance(value, CodeType):
        return value.replace(co_consts=_anew(value.co_consts))
    if isinstance(value, (BuiltinFunctionType, MethodDescriptorType)):
        return partial(value)  # a call of it writes to itself alone
    if type(value) is int or type(value) is float:
        return type(value)(repr(value))
    if type(value) is tuple:
        return tuple(map(_anew, value))
    if type(value) is str:
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass")
    return value


def _global_names(functions: list[FunctionType]) -> list[tuple[dict[str, Any], str, Any]]:
    """The global names in these functions that stand for what can be made anew: where, the name, and for what."""
    found = {}
    for function in functions:
        known = function.__globals__
        for name in function.__code__.co_names:
            value = known.get(name, getattr(builtins, name, None))
            if _anew(value) is not value:
                known[name] = value  # now, or the table may have to grow later
                found[id(known), name] = (known, name, value)
    return [*found.values()]


def fill_gaps() -> None:
    """Take what lies free below a piece of _ROOM bytes at the upper end, which then is all that is free."""
    gc.collect()  # it empties the lists of objects that Python keeps to use again, too
    highest = max(map(id, gc.get_objects()))
    room = b"-" * _ROOM
    for _ in range(_MOST_FILLED):
        if id(room) > highest:
            break
        _kept.append(room)
        room = b"-" * _ROOM
    size, left = _LARGEST_GAP, _MOST_FREE
    while size > _HEADER and left > 0:
        block = b"-" * (size - _HEADER)
        is_gap = id(block) < id(room)
        if is_gap or size <= _CACHED:
            _kept.append(block)
            left -= size
        if not is_gap:
            size -= 16 if size <= _CACHED else size // 8 & ~15
    for _ in range(_MOST_SMALLEST):
        smallest = object()
        if id(smallest) > id(room):
            break
        _kept.append(smallest)
