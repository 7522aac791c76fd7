"""No free descriptor in this process (EMFILE) or on this host (ENFILE): clients wait, and no connection is lost."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest
from account import once, unaffected
from acting import USER, need_root, said, start_as
from running import COMMAND, running, wait_until
from shim import Shim

SHORT_SECONDS = 4.0
"""A first pause takes 0.1 seconds; after eight failures in a row it takes 5."""
DESCRIPTORS = 150
USERS = 16
MANY = """
import socket, sys
clients = [socket.socket(socket.AF_UNIX) for _ in range(int(sys.argv[2]))]
for client in clients:
    client.connect(sys.argv[1])
    client.sendall(b"many")
    client.shutdown(socket.SHUT_WR)
print(sum(client.recv(16) == b"MANY" for client in clients), "answers", flush=True)
"""


@pytest.mark.parametrize(
    ("error", "text"), [("EMFILE", "Too many open files"), ("ENFILE", "Too many open files in system")]
)
@pytest.mark.parametrize("reuse", ["1", "1000"])
def test_accept_fails(folder: Path, shim: Shim, error: str, text: str, reuse: str) -> None:
    """While accept() fails the log says so at each pause and children go on; afterwards all clients are served."""
    options = ("--connections-per-child", reuse)
    daemon_of = running(folder, *options, environ=shim.environ)
    with daemon_of as daemon, unaffected(daemon, bystanders=4), shim.failing("accept4", error):
        wait_until(lambda: daemon.log.count(" pause: ") >= 4, "the fourth pause")
    pauses = daemon.log.count(f" pause: cannot accept connections: {text}; trying again in ")
    assert pauses == daemon.log.count(" pause: ") == shim.hits("accept4")
    assert daemon.board.header["crashed"] == daemon.board.header["fork_failures"] == 0


def test_pause_is_short_again(folder: Path, shim: Shim) -> None:
    """After a successful accept() the next failure costs a short pause, however many failures preceded."""
    with running(folder, environ=shim.environ) as daemon, unaffected(daemon) as account:
        for count in range(8):
            with shim.failing("accept4", "EMFILE"):
                wait_until(lambda count=count: daemon.log.count(" pause: ") > count, "a pause")  # type: ignore[misc]
            began = time.monotonic()
            account.wait_for_progress(1)
            assert time.monotonic() - began < SHORT_SECONDS


def test_parent_has_no_descriptor(folder: Path) -> None:
    """While the parent's table is full nothing is accepted or forked; later all are served, and none is lost."""
    with running(folder) as daemon, unaffected(daemon, bystanders=4):
        soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (3, hard))
        wait_until(lambda: daemon.log.count(" pause: ") >= 3, "the third pause")
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
    assert daemon.board.header["crashed"] == daemon.board.header["lost"] == 0


def test_few_descriptors(folder: Path) -> None:
    """With fewer descriptors than connections, children still end and are replaced, and all clients are served."""
    need_root()
    options = ("--max-children", "8", "--connections-per-child", "2")
    limited = ["prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}", *COMMAND, "--socket", f"{folder}/upperd.sock"]
    limited += ["--socket-mode", "0666"]
    folder.chmod(0o755)
    with running(folder, command=[*limited, "--no-fallback", *options]) as daemon:
        users = [start_as(USER + number, MANY, str(daemon.path), "15") for number in range(USERS)]
        for user in users:
            with user:
                assert said(user) == "15 answers"
    assert daemon.board.header["fork_failures"] == daemon.board.header["refused"] == 0


@pytest.mark.parametrize(("call", "error"), [("socketpair", "EMFILE"), ("sendmsg", "ETOOMANYREFS")])
def test_handing_over_fails(folder: Path, shim: Shim, call: str, error: str) -> None:
    """While a channel cannot be made or written, forking pauses; later the waiting clients are served, none lost."""
    single = ("--connections-per-child", "1")
    daemon_of = running(folder, *single, environ=shim.environ)
    with daemon_of as daemon, unaffected(daemon, bystanders=4), shim.failing(call, error):
        wait_until(lambda: daemon.log.count(" throttle: ") >= 4, "the fourth pause")
    assert shim.hits(call) >= daemon.log.count(" throttle: ")
    assert daemon.board.header["crashed"] == daemon.board.header["lost"] == 0
    once(daemon.log, " resume: ")
