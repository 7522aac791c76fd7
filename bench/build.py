"""Builds the C programs of the benchmark if their sources are newer."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
BUILT = HERE.parent / "build" / "bench"
FLAGS = ["-std=gnu11", "-O3", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-pthread"]
SERVERS = ("fork", "prefork", "epoll")


class BuildError(Exception):
    """A program could not be built; the text says why."""


def build() -> None:
    """Build the load generator and the servers. Raises BuildError."""
    BUILT.mkdir(parents=True, exist_ok=True)
    _compile(BUILT / "load", sorted((HERE / "load").glob("*.[ch]")))
    for name in SERVERS:
        _compile(BUILT / name, [HERE / f"servers/{name}.c", HERE / "servers/upper.h"])


def _compile(program: Path, sources: list[Path]) -> None:
    newest = max(path.stat().st_mtime for path in sources)
    if program.exists() and program.stat().st_mtime > newest:
        return
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise BuildError("no C compiler: apt-get install gcc libc6-dev")
    files = [str(path) for path in sources if path.suffix == ".c"]
    with replacing(program) as partial:
        # The compiler prints what is wrong.
        if subprocess.run([compiler, *FLAGS, "-o", str(partial), *files]).returncode:
            raise BuildError(f"{program.name} cannot be built")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write instead of `path`, which another run may be using; replaces `path` at the end of the block."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    yield partial
    partial.replace(path)
