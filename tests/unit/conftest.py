"""Fixtures for several modules: another process that holds a lock, and a user that is not root."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest
from stage import Stage

NOBODY = 65534
_HOLD = "import sys; from upperd.base import locks; locks.take(sys.argv[1]); print(flush=True); sys.stdin.read()"


@contextmanager
def _holding(path: str) -> Iterator[int]:
    """Have another process hold the lock of `path`; yields its pid."""
    command = [sys.executable, "-c", _HOLD, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        yield process.pid
        # Popen's exit closes the process's standard input, at which it ends.


@pytest.fixture
def hold_elsewhere() -> Iterator[Callable[[str], int]]:
    """A function that has another process lock a path until the test ends; it returns the pid."""
    with ExitStack() as stack:
        yield lambda path: stack.enter_context(_holding(path))


@contextmanager
def _not_as_root() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def not_as_root() -> Callable[[], AbstractContextManager[None]]:
    """Run the block as an ordinary user, to whom permissions apply."""
    return _not_as_root


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A stage with room for four children, or as the test says."""
    stage = Stage(**getattr(request, "param", {}))
    yield stage
    stage.population.close()
    stage.loop.close()
