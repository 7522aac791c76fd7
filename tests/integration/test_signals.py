"""Signals of the parent and of its children, and what a child inherits."""

import contextlib
import os
import signal
import socket
from pathlib import Path

import pytest
from running import Daemon, ask_on, lives, open_files, running, wait_until


def test_sigterm_to_a_child_ends_that_child_only(daemon: Daemon) -> None:
    """SIGTERM to a child ends that child, runs no code of the parent, and another child takes its place."""
    victim = daemon.children()[0]
    # Again and again, as the parent does: a signal may come in the instant before accept().
    with contextlib.suppress(ProcessLookupError):
        wait_until(lambda: victim not in daemon.children() or os.kill(victim, signal.SIGTERM), "the child ends")
    wait_until(lambda: daemon.board.spare == 8, "another takes its place")
    assert daemon.ask(b"x") == b"X"
    assert "drain:" not in daemon.log
    assert daemon.board.header["crashed"] == 0


def test_idle_children_end_when_the_parent_is_killed(daemon: Daemon) -> None:
    """When the parent is killed by SIGKILL its idle children end, a conversation goes on, and no client gets in."""
    with daemon.held() as busy:
        wait_until(lambda: daemon.board.spare == 8, "no child is being forked")
        [serving] = [child["pid"] for child in daemon.board.children if not child["waiting"]]
        idle = [pid for pid in daemon.children() if pid != serving]
        assert len(idle) >= 4
        daemon.signal(signal.SIGKILL)
        daemon.wait()
        wait_until(lambda: not any(lives(pid) for pid in idle), "the idle children end")
        with socket.socket(socket.AF_UNIX) as client, pytest.raises(ConnectionRefusedError):
            client.connect(str(daemon.path))
        assert ask_on(busy, b"on") == b"ON"
    wait_until(lambda: not lives(serving), "the other one ends after its conversation")


@pytest.mark.parametrize("number", [signal.SIGCHLD, signal.SIGIO, signal.SIGTERM])
def test_signal_that_was_ignored(folder: Path, number: signal.Signals) -> None:
    """Signals work although the program that started the daemon ignored or blocked them."""

    def ignore() -> None:
        signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [number])

    with running(folder, preexec_fn=ignore) as daemon:
        daemon.signal(signal.SIGHUP)
        daemon.manager.wait_for("RELOADING=1")
        daemon.manager.wait_for("READY=1")
        assert "nothing has changed" in daemon.log
        assert daemon.ask(b"x") == b"X"
        daemon.kill()
    with running(folder, preexec_fn=ignore) as daemon:
        assert daemon.stop() == 0


@pytest.mark.parametrize("spare", [1, 8])
def test_parent_killed_while_it_forks(folder: Path, spare: int) -> None:
    """Whenever the parent is killed, even during its first forks, none of its children outlives it."""
    for round in range(12):
        with running(folder, "--spare-children", str(spare), ready=False) as daemon:
            while len(daemon.children()) <= round % min(spare, 3) and daemon.process.poll() is None:
                os.sched_yield()  # as soon as there is one: what could go wrong is over in a moment
            daemon.signal(signal.SIGKILL)
            daemon.wait()
            mark = f"socket={daemon.path}\0".encode()
            wait_until(lambda: not _processes_with(mark), f"all children end (round {round})")  # noqa: B023


def _processes_with(mark: bytes) -> list[Path]:
    """The processes with this word, which is unique, on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if mark in path.read_bytes():
                found.append(path)
    return found


def test_child_holds_only_what_is_its_own(folder: Path) -> None:
    """A child holds its sockets and standard streams, and no lock, no pidfd and no epoll descriptor of its parent."""
    with running(folder, "--tcp", "127.0.0.1:0", environ={"WATCHDOG_USEC": "5000000"}) as daemon, daemon.held():
        for child in daemon.children():
            # A child that is just being forked may not have come to this yet.
            wait_until(lambda: _holds_its_own(child), f"child {child} holds no more than its own")  # noqa: B023


def _holds_its_own(pid: int) -> bool:
    held = open_files(pid)
    sockets = [name for name in held if name.startswith("socket:")]  # channel, connection
    foreign = [name for name in held if ".lock" in name or "pidfd" in name or "eventpoll" in name]
    return not foreign and len(sockets) <= 2 and len(held) <= 5


@pytest.mark.parametrize("name", ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID"])
def test_environment_of_a_child_is_clean(folder: Path, name: str) -> None:
    """Neither the parent nor a child has a variable of the manager in its environment, also in /proc."""
    with running(folder, environ={"WATCHDOG_USEC": "5000000"}) as daemon:
        for pid in (daemon.pid, *daemon.children()):
            variables = Path(f"/proc/{pid}/environ").read_text().split("\0")
            assert [variable for variable in variables if variable.startswith(f"{name}=")] == []


def test_one_thread(daemon: Daemon) -> None:
    """The process that forks has one thread."""
    assert os.listdir(f"/proc/{daemon.pid}/task") == [str(daemon.pid)]
