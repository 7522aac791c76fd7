"""A folder for the daemons and the proxy before them."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that the proxy's user may enter, with a path short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="upperd-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)
