"""The promises of packing: functions lie side by side, and do what they did."""

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any, cast

import pytest
import sdnotify

from upperd.service import packing


def made() -> tuple[type, type]:
    """Classes whose methods have everything that a function can have."""
    kept = 5

    class Base:
        def greet(self) -> str:
            return "base"

    class Derived(Base):
        def greet(self, name: str = "x", *, times: int = 2) -> str:
            """Greet."""
            return super().greet() + name * times + str(kept)

        def unused(self) -> None:
            """Is run by nobody."""

    return Base, Derived


def run_of(call: Callable[[], object]) -> packing.Run:
    run = packing.Run()
    run.watch(call)
    return run


def functions_of(owner: type) -> dict[str, FunctionType]:
    return {name: value for name, value in vars(owner).items() if isinstance(value, FunctionType)}


def test_functions_do_what_they_did() -> None:
    """A function that is made anew has the same result, defaults, names and signature, and another code."""
    classes = made()
    derived: Any = classes[1]
    call: Callable[[], object] = lambda: derived().greet("y")  # noqa: E731
    before = functions_of(derived)
    packing.pack(classes, run_of(call))
    after = functions_of(derived)
    assert call() == "baseyy5"
    assert after["greet"].__code__ is not before["greet"].__code__
    assert inspect.signature(after["greet"]) == inspect.signature(before["greet"])
    assert after["greet"].__qualname__ == before["greet"].__qualname__
    assert after["unused"] is before["unused"]


def test_what_ran() -> None:
    """What a call runs is found, in whatever class it stands, and nothing else; the tracer is taken away again."""
    base, derived = made()
    instance: Any = derived()
    run = run_of(lambda: instance.greet())
    assert functions_of(base)["greet"].__code__ in run.lines
    assert functions_of(derived)["greet"].__code__ in run.lines
    assert functions_of(derived)["unused"].__code__ not in run.lines
    assert sys.gettrace() is None
    with pytest.raises(ZeroDivisionError):
        run_of(lambda: 1 / 0)
    assert sys.gettrace() is None


BRANCHES = """
FIRST, SECOND, THIRD = 1001, 1002, 1003

def choose(which):
    if which:
        return FIRST
    return SECOND, \\
        THIRD
"""


def test_names_that_were_looked_up() -> None:
    """Of the global names in a function those are found that stand in lines which ran; of all of it, all of them."""
    known: dict[str, Any] = {}
    exec(BRANCHES, known)
    code = known["choose"].__code__
    assert run_of(lambda: known["choose"](True)).names(code) == ["FIRST"]
    assert run_of(lambda: known["choose"](False)).names(code) == ["SECOND", "THIRD"]
    run = packing.Run()
    assert run.names(code) == []
    run.add(code)
    assert run.names(code) == ["FIRST", "SECOND", "THIRD"]


def test_function_is_made_anew_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in several runs lies with the first of them, with all that it names."""
    monkeypatch.setenv("PYTHONMALLOC", "malloc")
    known: dict[str, Any] = {}
    exec(NAMES, known)
    named = known["Named"]()
    result = named.everything()
    runs = [run_of(named.everything), run_of(named.everything)]
    packing.pack([known["Named"]], *runs)
    assert named.everything() == result
    _, _, (first, second) = cast("Any", packing._kept[-1])
    assert ([function.__name__ for function in first.functions], second.functions) == (["everything"], [])
    assert (len(first.values) > 5, second.values) == (True, [])


NAMES = """
from os import getpid

LARGE, SMALL, PAIR, TEXT, FLAG = 1000, 5, (2000, "a"), "some text\\udc80", True

def helper():
    return LARGE

class Named:
    def everything(self):
        return getpid(), LARGE, SMALL, PAIR, TEXT, FLAG, helper(), len(TEXT), 123456, 0.25, [n for n in PAIR]
"""


def test_names_mean_what_they_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the functions name is another object afterwards, and the same; what can be had once only stays."""
    monkeypatch.setenv("PYTHONMALLOC", "malloc")
    known: dict[str, Any] = {}
    exec(NAMES, known)
    before, named = dict(known), known["Named"]()
    result = named.everything()
    packing.pack([known["Named"]], run_of(named.everything))
    assert named.everything() == result
    for name in ("getpid", "LARGE", "PAIR", "TEXT", "helper"):
        assert known[name] is not before[name], name
    for name in ("SMALL", "FLAG", "Named"):
        assert known[name] is before[name], name


def test_filling_ends() -> None:
    """Whatever the allocator, and wherever its pieces lie, little is taken, and keeping it takes nothing more."""
    length = len(packing._fillers)
    packing._fillers.extend([None] * length)
    packing.fill_gaps()
    assert sum(map(sys.getsizeof, packing._fillers)) < 100_000 * packing._MOST_FILLED + 5_000_000
    assert len(packing._fillers) == length


PAGES = """
import sys
sys.path[:0] = sys.argv[1:]
from upperd.service import packing, warmup
assert packing.is_possible()
classes = tuple(dict.fromkeys(warmup._OF_CHILDREN))

def codes():
    return {value.__code__ for owner in classes for value in vars(owner).values() if hasattr(value, "__code__")}

def show():
    print(len(codes()), len({id(code) >> 12 for code in codes()}))

run = packing.Run()
for code in codes():
    run.add(code)
show()
packing.pack(classes, run)
show()
"""


def test_functions_lie_side_by_side() -> None:
    """With malloc for all objects, the functions of several modules lie in half as many pages as before, or fewer."""
    environ = {**os.environ, "PYTHONMALLOC": "malloc"}
    folders = {os.path.dirname(os.path.dirname(str(module.__file__))) for module in (packing, sdnotify)}
    command = [sys.executable, "-s", "-S", "-c", PAGES, *folders]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    before, after = ([int(word) for word in line.split()] for line in done.stdout.splitlines())
    assert before[0] == after[0] > 30
    assert after[1] * 2 <= before[1]


def test_nothing_without_malloc(monkeypatch: pytest.MonkeyPatch) -> None:
    """With Python's own allocator, which sorts by size, packing says that it is of no use."""
    monkeypatch.delenv("PYTHONMALLOC", raising=False)
    assert not packing.is_possible()
