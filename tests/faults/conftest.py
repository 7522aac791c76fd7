"""Fixtures: a short-named folder, faults on demand, and a daemon whose connections are all accounted for."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "integration"))  # for running.py

pytest.register_assert_rewrite("account")

from shim import Shim  # noqa: E402  # what is imported here needs that path, too
from tools import missing  # noqa: E402


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for a socket."""
    path = Path(tempfile.mkdtemp(prefix="upperd-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library built from shim.c."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        missing("no C compiler: apt-get install gcc libc6-dev")
    path = tmp_path_factory.mktemp("shim") / "shim.so"
    command = [str(compiler), "-shared", "-fPIC", "-O1", "-o", str(path), str(HERE / "shim.c"), "-ldl"]
    subprocess.run(command, check=True)
    return path


@pytest.fixture
def shim(library: Path, folder: Path) -> Shim:
    """Faults for a daemon that is started with `environ=shim.environ`."""
    (folder / "faults").mkdir()
    return Shim(library, folder / "faults")


@pytest.fixture
def many_descriptors() -> Iterator[int]:
    """Raise the descriptor limit to its maximum, for this process and the processes that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2_500:
        missing("not enough descriptors may be had: ulimit -Hn 2500")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def as_root() -> None:
    """The test needs root, and mounts in a namespace of its own."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL).returncode != 0:
        missing("it takes a root who may mount")
