"""A folder for each situation, with a path short enough for a socket."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="upperd-", ignore_cleanup_errors=True) as path:
        yield Path(path)
