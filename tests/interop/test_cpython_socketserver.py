"""CPython's own tests of socketserver, with `PreforkingMixIn` in place of `socketserver.ForkingMixIn`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tools import missing

ROOT = Path(__file__).parents[2]
VERSIONS = ("3.11", "3.12", "3.13")
SECONDS = 150

RUNNER = """
import socketserver, sys, unittest
from upperd.server import PreforkingMixIn

STOCK = socketserver.ForkingMixIn
PLACE = {"__module__": "socketserver"}  # one of the tests compares the names of the module with __all__
socketserver.ForkingMixIn = type("ForkingMixIn", (PreforkingMixIn,), PLACE)
for name in ("TCPServer", "UDPServer", "UnixStreamServer", "UnixDatagramServer"):
    if hasattr(socketserver, "Forking" + name):  # before 3.12 the tests make those for Unix sockets themselves
        bases = socketserver.ForkingMixIn, getattr(socketserver, name)
        setattr(socketserver, "Forking" + name, type("Forking" + name, bases, PLACE))

import test.test_socketserver as tests

forking = [item for item in vars(tests).values() if isinstance(item, type) and issubclass(item, STOCK)]
assert all(issubclass(item, PreforkingMixIn) for item in forking), forking
assert issubclass(tests.ForkingErrorTestServer, PreforkingMixIn)
unittest.main(module=tests, argv=["test_socketserver", "-v"])
"""


def _has_tests(python: str) -> bool:
    """Whether this Python exists, and has the test package (Debian's has not)."""
    command = [python, "-c", "import test.test_socketserver"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _python(version: str) -> str:
    """A Python of this version that includes the tests."""
    installed = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python{version}"))
    found = [shutil.which(f"python{version}"), f"/usr/local/bin/python{version}", f"/usr/bin/python{version}"]
    for python in (*map(str, installed), *filter(None, found)):
        if Path(python).exists() and _has_tests(python):
            return python
    missing(f"no Python {version} with the test package")
    raise AssertionError


@pytest.mark.parametrize("version", VERSIONS)
def test_own_tests_of_cpython(folder: Path, version: str) -> None:
    """PreforkingMixIn passes CPython's tests of its forking servers, in each version."""
    command = [_python(version), "-W", "ignore::DeprecationWarning", "-c", RUNNER]
    environ = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder), "TMPDIR": str(folder)}
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "skipped" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.lower().startswith("test_forking")]) == 6
