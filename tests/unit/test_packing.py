"""The promises of packing: functions lie side by side, and do what they did."""

import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

import pytest
import sdnotify

from upperd import packing


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


def functions_of(owner: type) -> dict[str, FunctionType]:
    return {name: value for name, value in vars(owner).items() if isinstance(value, FunctionType)}


def test_functions_do_what_they_did() -> None:
    """A function that is made anew has the same result, defaults, names and signature, and another code."""
    classes = made()
    derived: Any = classes[1]
    call: Callable[[], object] = lambda: derived().greet("y")  # noqa: E731
    before = functions_of(derived)
    packing.pack(classes, packing.codes_run_by(call))
    after = functions_of(derived)
    assert call() == "baseyy5"
    assert after["greet"].__code__ is not before["greet"].__code__
    assert inspect.signature(after["greet"]) == inspect.signature(before["greet"])
    assert after["greet"].__qualname__ == before["greet"].__qualname__
    assert after["unused"] is before["unused"]


def test_codes_run() -> None:
    """What a call runs is found, in whatever class it stands, and nothing else; the profiler is taken away again."""
    base, derived = made()
    instance: Any = derived()
    codes = packing.codes_run_by(lambda: instance.greet())
    assert functions_of(base)["greet"].__code__ in codes
    assert functions_of(derived)["greet"].__code__ in codes
    assert functions_of(derived)["unused"].__code__ not in codes
    assert sys.getprofile() is None
    with pytest.raises(ZeroDivisionError):
        packing.codes_run_by(lambda: 1 / 0)
    assert sys.getprofile() is None


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
    packing.pack([known["Named"]], packing.codes_run_by(named.everything))
    assert named.everything() == result
    for name in ("getpid", "LARGE", "PAIR", "TEXT", "helper"):
        assert known[name] is not before[name], name
    for name in ("SMALL", "FLAG", "Named"):
        assert known[name] is before[name], name


def test_filling_ends() -> None:
    """Whatever the allocator, and wherever its pieces lie, little is taken."""
    kept = len(packing._kept)
    packing.fill_gaps()
    taken = packing._kept[kept:]
    assert sum(map(sys.getsizeof, taken)) < 100_000 * packing._MOST_FILLED + 5_000_000
    assert len(taken) < 20_000


PAGES = """
import sys
sys.path[:0] = sys.argv[1:]
from upperd import packing, warmup
assert packing.is_possible()
classes = tuple(dict.fromkeys(warmup._OF_CHILDREN))
codes = packing.codes_of(classes)
print(len(codes), len({id(code) >> 12 for code in codes}))
packing.pack(classes, codes)
codes = packing.codes_of(classes)
print(len(codes), len({id(code) >> 12 for code in codes}))
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
