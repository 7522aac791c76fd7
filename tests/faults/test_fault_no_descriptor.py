"""No descriptor to be had, in this process (EMFILE) or on this host (ENFILE): the queue waits, and nobody is lost."""

from __future__ import annotations

import os
import re
import resource
from pathlib import Path

import pytest
from account import once, unaffected
from running import running, wait_until
from shim import Shim


@pytest.mark.parametrize(
    ("error", "text"), [("EMFILE", "Too many open files"), ("ENFILE", "Too many open files in system")]
)
@pytest.mark.parametrize("reuse", ["1", "1000"])
def test_accept_fails(folder: Path, shim: Shim, error: str, text: str, reuse: str) -> None:
    """While accept() fails each child says so once and ends; the daemon pauses, and serves all when it works."""
    options = ("--connections-per-child", reuse)
    daemon_of = running(folder, *options, environ=shim.environ)
    with daemon_of as daemon, unaffected(daemon, bystanders=4), shim.failing("accept4", error):
        wait_until(lambda: daemon.log.count(" throttle: ") >= 4, "the fourth pause")
    hits = shim.hits("accept4")
    said = re.findall(r"(?m)^<3>child (\d+): OSError: .* " + re.escape(text) + " at ", daemon.log)
    assert len(said) == len(set(said)) == hits
    assert daemon.board.header["crashed"] == hits
    pauses = daemon.log.count(" throttle: ")
    assert daemon.log.count("accept() failed before its first connection; forking again") == pauses
    if reuse == "1":  # a child that is reused has not ended yet
        once(daemon.log, " resume: ")


def test_parent_has_no_descriptor(folder: Path) -> None:
    """While the parent's table is full its children cannot be watched; they serve all the same, and none is lost."""
    with running(folder) as daemon, unaffected(daemon, bystanders=4):
        soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        used = max(int(name) for name in os.listdir(f"/proc/{daemon.pid}/fd"))
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (used - 1, hard))
        wait_until(lambda: daemon.log.count(" throttle: ") >= 3, "the third pause")
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
    assert daemon.log.count(" throttle: fork: Too many open files;") == daemon.log.count(" throttle: ")
    assert daemon.board.header["crashed"] == 0
