"""Children of a server with PreforkingMixIn: when they are forked, reaped and ended, and for which user.

Each body runs in a process of its own, so that pytest itself, which has threads, never forks.
"""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from pathlib import Path

import pytest
from mixin_servers import Lines, apart, ask, connect_to, make_server, serving
from running import DEADLINE, ask_on, wait_until


def _is_gone(pid: int) -> bool:
    """Whether no process and no zombie has this pid."""
    return not Path(f"/proc/{pid}").exists()


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("family", ["unix", "tcp"])
@apart
def test_any_handler_is_served(folder: Path, family: str) -> None:
    """Any handler works on Unix and TCP; with connections_per_child 1 each connection has a process of its own."""
    server = make_server(family, folder, Lines)
    server.connections_per_child = 1
    with serving(server):
        answers = [ask(server, b"one\ntwo\n").split() for _ in range(5)]
    assert [answer[1::2] for answer in answers] == [[b"ONE", b"TWO"]] * 5
    pids = [answer[0] for answer in answers]
    assert len(set(pids)) == 5
    assert str(os.getpid()).encode() not in pids


@apart
def test_child_is_reused(folder: Path) -> None:
    """One process serves several connections of its user, up to the limit."""
    server = make_server("unix", folder, Lines)
    server.connections_per_child, server.spare_children = 3, 1
    with serving(server):
        pids = [ask(server, b"x\n").split()[0] for _ in range(12)]
    assert max(pids.count(pid) for pid in pids) == 3
    assert 4 <= len(set(pids)) < 12


@pytest.mark.parametrize("reuse", ["", "yes"])
@apart
def test_unknown_peers(folder: Path, reuse: str) -> None:
    """A peer whose user is not known has a child of its own, unless such peers may share."""
    server = make_server("tcp", folder, Lines)
    server.reuse_unknown = bool(reuse)
    with serving(server):
        pids = [ask(server, b"x\n").split()[0] for _ in range(6)]
    assert len(set(pids)) == (1 if reuse else 6)


@apart
def test_children_are_reaped_while_nobody_comes(folder: Path) -> None:
    """A child that ended is reaped at once, even if no request and no poll_interval follows."""
    server = make_server("unix", folder, Lines)
    server.connections_per_child = 1
    with serving(server, poll_interval=10 * DEADLINE):
        pid = int(ask(server, b"x\n").split()[0])
        wait_until(lambda: _is_gone(pid), "the child is reaped")


@apart
def test_spare_children_are_made_good(folder: Path) -> None:
    """After a rush, spare_children children wait again, not just the last of them."""
    server = make_server("unix", folder, Lines)
    server.spare_children, server.connections_per_child = 4, 1
    with serving(server, poll_interval=0.05):
        wait_until(lambda: len(server.active_children) == 4, "four wait")
        pid = int(ask(server, b"x\n").split()[0])
        wait_until(lambda: pid not in server.active_children, "one has served, and is gone")
        wait_until(lambda: len(server.active_children) == 4, "four wait again")


@apart
def test_full_descriptor_table_does_not_spin(folder: Path) -> None:
    """With a full table of descriptors the loop uses next to no processor time, and serves when there is room."""
    server = make_server("unix", folder)
    with serving(server, poll_interval=0.05):
        assert ask(server, b"x") == b"X"
        client = connect_to(server)
        held = connect_to(server)
        held.sendall(b"x")
        assert held.recv(1) == b"X"
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        ballast = _fill_table()
        before, began = _cpu_seconds(), time.monotonic()
        wait_until(lambda: time.monotonic() > began + 1.0, "a second passes")
        spent = _cpu_seconds() - before
        for descriptor in ballast:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with client, held:
            assert ask_on(client, b"y") == b"Y"
            assert ask(server, b"z") == b"Z"
    assert spent < 0.5, f"{spent} s of processor time in one second"


def _fill_table() -> list[int]:
    """Lower the limit to what is in use, and fill the gaps."""
    top = max(map(int, os.listdir("/proc/self/fd"))) + 8
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (top, hard))
    ballast = []
    try:
        while True:
            ballast.append(os.dup(0))
    except OSError:
        return ballast


@apart
def test_idle_children_end_with_the_program(folder: Path) -> None:
    """When the program is killed its idle children end, also those forked by a thread that has ended before."""
    reading, writing = os.pipe()
    program = os.fork()
    if program == 0:
        server = make_server("unix", folder)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        ask(server, b"x")
        os.write(writing, " ".join(map(str, server.active_children)).encode())
        while True:
            signal.pause()
    children = [int(word) for word in os.read(reading, 4096).split()]
    assert children
    assert not any(_is_gone(pid) for pid in children), "they wait"
    os.kill(program, signal.SIGKILL)
    os.waitpid(program, 0)
    wait_until(lambda: all(_is_gone(pid) or _is_zombie(pid) for pid in children), "the children end")


def _is_zombie(pid: int) -> bool:
    """Whether the process has ended and waits to be reaped by the process that adopted it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
