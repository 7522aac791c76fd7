"""One daemon for all clients, on a Unix socket and on TCP, and a text of 100 MiB; each is made once."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "integration"))  # for running.py

pytest.register_assert_rewrite("talking")

from running import free_port, running  # noqa: E402  # what is imported here needs that path, too
from talking import Service, Text  # noqa: E402


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="upperd-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    path = Path(tempfile.mkdtemp(prefix="upperd-"))
    port = free_port()
    with running(path, "--tcp", f"127.0.0.1:{port}") as daemon:
        yield Service(str(daemon.path), port)
        assert daemon.stop() == 0, daemon.log
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def text() -> Iterator[Text]:
    with tempfile.NamedTemporaryFile(prefix="upperd-text-") as file:
        yield Text(file)
