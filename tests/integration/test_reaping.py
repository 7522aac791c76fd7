"""Every end of a child is noticed and recorded, and the child is replaced."""

import os
import re
import resource
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import sdnotify
from running import Daemon, running, wait_until

import upperd
from upperd.service.options import Options
from upperd.service.settings import Settings


def _serving_child(daemon: Daemon) -> int:
    return next(child["pid"] for child in daemon.board.children if not child["waiting"])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_crash_is_counted_and_named(daemon: Daemon, number: signal.Signals) -> None:
    """A child killed by a signal is counted once, and logged with the signal and its work; others are unaffected."""
    with daemon.held() as victim:
        pid = _serving_child(daemon)
        with daemon.held() as other:
            os.kill(pid, number)
            assert victim.recv(1) == b""
            wait_until(lambda: daemon.board.header["crashed"] == 1, "the crash is counted")
            other.sendall(b"ok")
            assert other.recv(2) == b"OK"
    [record] = wait_until(
        lambda: [line for line in daemon.log.splitlines() if f"child_pid={pid} " in line], "the crash is logged"
    )
    assert number.name in record
    assert "bytes_in=4" in record
    assert daemon.ask(b"x") == b"X"


def test_stopped_child_hurts_nobody(daemon: Daemon) -> None:
    """A child stopped by SIGSTOP delays no other client, and does not outlive the drain."""
    with daemon.held():
        pid = _serving_child(daemon)
        os.kill(pid, signal.SIGSTOP)
        assert [daemon.ask(b"x") for _ in range(10)] == [b"X"] * 10
        os.kill(pid, signal.SIGCONT)


@pytest.fixture
def daemon(folder: Path) -> Iterator[Daemon]:
    """A daemon with a process for each connection."""
    with running(folder, "--connections-per-child", "1") as daemon:
        yield daemon


def test_no_zombies_and_exact_totals(daemon: Daemon) -> None:
    """After many connections no zombie is left, the spare children wait, and the totals add up to the last byte."""
    for _ in range(200):
        assert daemon.ask(b"hello") == b"HELLO"
    wait_until(lambda: len(daemon.children()) == 8 and daemon.board.spare == 8, "eight spare children again")

    def adds_up() -> bool:
        header = daemon.board.header
        return header["forked"] - header["ended"] == 8

    wait_until(adds_up, "what was forked lives, or has ended")  # a child is there before it is counted
    header = daemon.board.header
    assert (header["connections"], header["bytes_in"], header["bytes_out"], header["crashed"]) == (200, 1000, 1000, 0)


def test_records_add_up(daemon: Daemon) -> None:
    """Above fifty ends a second one record sums up the rest, so that the log still adds up."""
    for _ in range(300):
        daemon.ask(b"x")
    assert daemon.stop() == 0
    summed = sum(int(n) for n in re.findall(r" ends: .* connections=(\d+)", daemon.log))
    single = len(re.findall(r" end: child .* connections=1 ", daemon.log))
    assert summed + single == 300


def test_failing_fork_throttles_and_recovers(folder: Path) -> None:
    """When no process can be forked, the daemon pauses, says so, does not spin, and goes on when it can."""
    if os.geteuid() != 0:
        pytest.skip("limiting the processes of another user takes root")
    uid = 63000 + os.getpid() % 2000  # the limit counts all processes of the uid: no other test has these
    shutil.chown(folder, uid, uid)
    command = lambda: _copied(folder)  # noqa: E731  # the notify socket is made first
    limit = (resource.RLIMIT_NPROC, (3, 3))  # the parent and two children
    as_user = {"user": uid, "group": uid, "extra_groups": [], "preexec_fn": lambda: resource.setrlimit(*limit)}
    with running(folder, command=command, **as_user) as daemon:
        with daemon.held(), daemon.held():
            wait_until(lambda: "throttle: fork" in daemon.log, "the log says that forking failed")
            before = _cpu(daemon.pid)
            wait_until(lambda: daemon.board.header["fork_failures"] >= 4, "it tries again")
            assert _cpu(daemon.pid) - before < 50  # ticks: a spin would take all of the time
        wait_until(lambda: daemon.board.spare >= 1, "spare children are back")
        assert daemon.ask(b"x") == b"X"
        wait_until(lambda: "resume:" in daemon.log, "the log says that it recovered")


def _copied(folder: Path) -> list[str]:
    """Run the parent from a copy that any user may read, with Debian's Python."""
    for package in (upperd, sdnotify):
        source = Path(str(package.__file__)).parent
        shutil.copytree(source, folder / "site" / source.name)
    options = Options(socket=f"{folder}/upperd.sock", spare_children=2, connections_per_child=1, drain_timeout=5)
    settings = Settings(**vars(options), notify_socket=str(next(folder.glob("notify-*"))))
    lean = f"{folder}/site/upperd/service/lean.py"
    return ["/usr/bin/python3", "-I", "-S", lean, f"{folder}/site", *settings.words()]


def _cpu(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
