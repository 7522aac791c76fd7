"""A folder for daemons and what stands before them."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that a proxy's user may enter, with a path short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="upperd-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)
