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
from collections import deque
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
_SMALL = 1024
"""Bytes: gaps that are no larger are sought in steps of malloc's own."""
_MOST_GAPS, _MOST_FREE = 4096, 4_000_000
"""Pieces and bytes taken at most: some times what is found after an ordinary start."""
_LOAD_GLOBAL = (lambda: print).__code__.co_code[2]
"""The instruction after RESUME. (The module `opcode` would tell, for a quarter of a megabyte in every fork.)"""
_MOST_NAMES = 127
"""In a function: the number of one more would be in two instructions."""
_HEADER = sys.getsizeof(b"")
_LONGEST_TEXT = 40
"""Characters: what is longer is a docstring, or is for people, in any case nothing that a child looks at."""

_AS_A_NUMBER, _LAST_NUMBERS = 7, 16
"""Bytes that take as much room as a number does, and more of those than filling itself leaves behind."""

_LONGEST_TUPLE, _FREE_TUPLES = 6, 3
"""What a child makes for a call, and how many it may find free of each length."""

_kept: list[object] = []
"""The functions that were replaced, and what they named: freed, they would be gaps."""
_highest = 0
"""The end of the heap, as far as it was looked at. It only grows."""
_fillers: deque[object] = deque([None] * _MOST_GAPS, maxlen=_MOST_GAPS)
"""What fills the gaps. It has its length from the beginning, so that keeping something takes no memory."""


def is_possible() -> bool:
    """Whether objects of any size come to lie side by side."""
    return os.environ.get("PYTHONMALLOC") == "malloc"


class Run:
    """What ran: which lines of which functions of Python."""

    def __init__(self) -> None:
        self.lines: dict[CodeType, set[int]] = {}

    def watch(self, call: Callable[[], object]) -> None:
        """Call it, and take note."""

        def note(frame: FrameType, event: str, argument: object) -> Any:
            self.lines.setdefault(frame.f_code, set()).add(frame.f_lineno)
            return note

        sys.settrace(note)
        try:
            call()
        finally:
            sys.settrace(None)

    def add(self, code: CodeType) -> None:
        """Take all of a function as run."""
        self.lines.setdefault(code, set()).update(line for _, _, line in code.co_lines() if line is not None)

    def names(self, code: CodeType) -> list[str]:
        """The names outside of the function that were looked up."""
        found: dict[str, None] = {}
        lines = self.lines.get(code, set()) if len(code.co_names) <= _MOST_NAMES else set()
        instructions, names = code.co_code, code.co_names  # asking for the first one copies it
        for start, end, line in code.co_lines():
            if line in lines:
                for offset in range(start, end, 2):
                    if instructions[offset] == _LOAD_GLOBAL:
                        found[names[instructions[offset + 1] >> 1]] = None  # the lowest bit: it is called
        return [*found]


def pack(classes: Iterable[type], *runs: Run) -> None:
    """Make the functions of these classes anew that ran: those of the first run, and so on, each function once.

    Before those of a run comes what they named: for that, global names stand for other objects afterwards.
    """
    classes = [*classes]
    groups: list[_Group] = []
    for run in runs:
        groups.append(_Group(classes, run, groups))
    _kept.append((classes, runs, groups))
    for group in groups:
        for function in group.functions:
            _copy(function)  # the first copy fills caches of the original
    if is_possible():
        fill_gaps()
    # From here on nothing is allocated but what is to lie side by side.
    for group in groups:
        for index, value in enumerate(group.values):
            group.values[index] = _anew(value)
        for index, function in enumerate(group.functions):
            group.copies[index] = _copy(function)
    for group in groups:
        group.put_in_place()


class _Group:
    """The functions of a run, and what they named, but for what is in a group before."""

    def __init__(self, classes: list[type], run: Run, before: list[_Group]) -> None:
        others = {function for group in before for function in group.functions}
        self._places: list[tuple[type, str, FunctionType]] = [
            (owner, name, function)
            for owner in classes
            for name, function in vars(owner).items()
            if isinstance(function, FunctionType) and function.__code__ in run.lines and function not in others
        ]
        # The largest first: what copying allocates and frees then has room for the next.
        self._places.sort(key=lambda place: -len(place[2].__code__.co_code))
        self.functions: list[FunctionType] = [function for _, _, function in self._places]
        self.copies = [*self.functions]
        known = {key for group in before for key in group._names}
        found = _global_names(self.functions, run) if is_possible() else {}
        self._names: dict[tuple[int, str], tuple[dict[str, Any], str]] = {
            key: place for key, place in found.items() if key not in known
        }
        self.values = [known[name] for known, name in self._names.values()]

    def put_in_place(self) -> None:
        """Have everybody find the copies."""
        for (owner, name, _), copy in zip(self._places, self.copies, strict=True):
            setattr(owner, name, copy)
        for (known, name), value in zip(self._names.values(), self.values, strict=True):
            known[name] = value


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
    if type(value) is partial:
        return partial(value.func, *value.args, **value.keywords)
    if type(value) is slice:
        _kept.append(slice(0))  # of the last one that was freed the memory is used again
        return slice(value.start, value.stop, value.step)
    if type(value) is int or type(value) is float:
        return type(value)(repr(value))
    if type(value) is tuple:
        return tuple(map(_anew, value))
    if type(value) is str and len(value) <= _LONGEST_TEXT:
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass")
    return value


def _global_names(functions: list[FunctionType], run: Run) -> dict[tuple[int, str], tuple[dict[str, Any], str]]:
    """Which of the global names that were looked up stand for what can be made anew: where, and the name."""
    found = {}
    for function in functions:
        known = function.__globals__
        for name in run.names(function.__code__):
            value = known.get(name, getattr(builtins, name, None))
            if _anew(value) is not value:
                known[name] = value  # now, or the table may have to grow later
                found[id(known), name] = (known, name)
    return found


def use_up_lists() -> None:
    """Take what Python keeps of tuples to use again, as far as it lies below what is made now.

    For the very end: it is what lay in the hands of who was running meanwhile.
    """
    newest = id(object())
    for length in range(1, _LONGEST_TUPLE):
        for again in [(None,) * length for _ in range(_FREE_TUPLES)]:
            if id(again) < newest:
                _fillers.append(again)


def fill_gaps() -> None:
    """Take what lies free below a piece of _ROOM bytes at the upper end, which then is all that is free.

    That piece has nothing above it, so it is malloc's top: taking from it writes to no page but the one that is taken.
    """
    _fill_gaps()
    for _ in range(_LAST_NUMBERS):
        _fillers.append(b"-" * _AS_A_NUMBER)


def _fill_gaps() -> None:
    gc.collect()  # it empties the lists of objects that Python keeps to use again, too
    global _highest
    _highest = max(_highest, *map(id, gc.get_objects()))
    gc.freeze()  # seen: neither this nor the next filling need look at them again
    room = b"-" * _ROOM
    for _ in range(_MOST_FILLED):
        if id(room) > _highest:
            break
        _fillers.append(room)
        room = b"-" * _ROOM
    size, left = _LARGEST_GAP, _MOST_FREE
    for _ in range(_MOST_GAPS):
        if size <= _HEADER or left < 0:
            break
        block = b"-" * (size - _HEADER)
        if id(block) < id(room):
            _fillers.append(block)
            left -= size
        else:
            size -= 16 if size <= _SMALL else size // 8 & ~15
    for _ in range(_MOST_GAPS):
        smallest = object()
        if id(smallest) > id(room):
            break
        _fillers.append(smallest)
