"""Fixtures for one test: a short-named folder, a daemon, an abstract name, a host."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts import Host
from running import Daemon, running

_numbers = itertools.count()


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="upperd-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def daemon(folder: Path) -> Iterator[Daemon]:
    with running(folder) as daemon:
        yield daemon


@pytest.fixture
def name() -> str:
    """An abstract name for this test alone, with characters that a path or a format string would interpret."""
    return f"@upperd/test %s.{os.getpid()}.{next(_numbers)}"


@pytest.fixture
def host(folder: Path) -> Iterator[Host]:
    host = Host(folder)
    yield host
    host.close()
