"""Each system call of a start is refused in turn: once, twenty times, and always.

By default only one refusal of each call, always; with SWEEP=all in the environment all of them (CONTRIBUTING.md).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from refusing import Refused, refusing
from running import wait_until

SANDBOX = ("EPERM", "ENOSYS")
DESCRIPTORS = ("EMFILE", "ENFILE", "EPERM")
MEMORY = ("ENOMEM",)
CALLS = {
    "accept4": ("EPERM", "ECONNABORTED", "ENFILE", "EMFILE"),
    "bind": SANDBOX,
    "chmod": SANDBOX,
    "clone": ("EAGAIN", "EPERM", "ENOMEM"),
    "close": ("EPERM",),
    "close_range": SANDBOX,
    "epoll_create1": DESCRIPTORS,
    "epoll_ctl": (*SANDBOX, "ENOMEM", "ENOSPC"),
    "epoll_wait": SANDBOX,
    "eventfd2": DESCRIPTORS,
    "fallocate": (*SANDBOX, "ENOSPC"),
    "fchmod": SANDBOX,
    "fcntl": SANDBOX,
    "flock": SANDBOX,
    "ftruncate": SANDBOX,
    "getcwd": ("EPERM", "ENOENT"),
    "getdents64": SANDBOX,
    "getsockname": SANDBOX,
    "getsockopt": SANDBOX,
    "ioctl": SANDBOX,
    "listen": SANDBOX,
    "lseek": SANDBOX,
    "madvise": (*MEMORY, "EPERM"),
    "mmap": MEMORY,
    "mprotect": MEMORY,
    "newfstatat": SANDBOX,
    "openat": DESCRIPTORS,
    "pipe2": DESCRIPTORS,
    "poll": SANDBOX,
    "prctl": SANDBOX,
    "prlimit64": SANDBOX,
    "read": ("EIO", "EPERM"),
    "recvfrom": SANDBOX,
    "recvmsg": SANDBOX,
    "rt_sigaction": SANDBOX,
    "rt_sigprocmask": SANDBOX,
    "sendmsg": (*SANDBOX, "ETOOMANYREFS"),
    "sendto": SANDBOX,
    "set_robust_list": SANDBOX,
    "shutdown": SANDBOX,
    "socket": DESCRIPTORS,
    "socketpair": DESCRIPTORS,
    "unlink": SANDBOX,
    "wait4": SANDBOX,
    "waitid": SANDBOX,
    "write": ("EPERM", "EIO"),
}
"""The calls of a start, and the errors that each may return."""
NEVER = {
    *("brk", "exit_group", "geteuid", "getpid", "gettid", "munmap", "rt_sigreturn", "umask", "kill", "restart_syscall"),
    *("futex", "getrandom", "clock_nanosleep", "arch_prctl", "rseq", "set_tid_address", "execve", "access", "pread64"),
    *("readlink", "sysinfo", "getuid", "getgid", "getegid", "sched_yield", "mremap", "dup", "pidfd_open"),
}
"""Calls that no sandbox refuses, that cannot fail, or that the interpreter makes before the program's first line."""
EXECUTING = {"fcntl", "mmap", "mprotect"}
"""Calls made not by the launcher, but by the interpreter that it executes, whose messages are not ours. Refusing a
call more than once would hit that interpreter, too."""
WHEN = {"once": ":when=1", "twenty times": ":when=1..20", "always": ""}
ALL = [
    *(("launcher", call, error, "once") for call in sorted(CALLS.keys() - EXECUTING) for error in CALLS[call]),
    *(
        (moment, call, error, when)
        for moment in ("front", "daemon")
        for call in CALLS
        for error in CALLS[call]
        for when in WHEN
    ),
]
SAMPLE = [("daemon", call, errors[0], "always") for call, errors in CALLS.items()]
CASES = ALL if os.environ.get("SWEEP") == "all" else SAMPLE
STATUSES = (70, 71, 73)


@pytest.mark.parametrize(("moment", "call", "error", "when"), CASES, ids=map("-".join, CASES))
def test_refused(folder: Path, moment: str, call: str, error: str, when: str) -> None:
    """With a call refused the daemon serves, or says what it waits for, or ends with one line; SIGTERM ends it."""
    with refusing(folder, moment, f"{call}:error={error}{WHEN[when]}") as daemon:
        wait_until(lambda: daemon.has_ended or daemon.asks() or daemon.is_short, "it serves, ends, or says why not")
        ended = daemon.has_ended
        status = daemon.end()
        assert "Traceback" not in daemon.log
        assert "[Errno" not in daemon.log
        if ended:
            _check_end(daemon, status, can_be_said=call != "write")
        else:
            assert status in (0, 71)


def _check_end(daemon: Refused, status: int, *, can_be_said: bool) -> None:
    """Check that the daemon ended by itself, and that its last line says why."""
    assert status in STATUSES
    if can_be_said:
        *_, last = daemon.log.splitlines()
        assert re.match(r"upperd\[\d+\] exiting: |upperd: ", last), daemon.log
        assert len(re.findall(r"exiting: |^upperd: ", daemon.log, re.MULTILINE)) == 1


def test_cause_is_said(folder: Path) -> None:
    """A call that is refused at the start is named, with the cure."""
    with refusing(folder, "daemon", "epoll_create1:error=EPERM") as daemon:
        wait_until(lambda: daemon.has_ended, "it ends")
        assert daemon.end() == 71
        assert "cannot go on: select.epoll(): Operation not permitted (does a sandbox refuse it: " in daemon.log


@pytest.mark.parametrize("error", CALLS["accept4"])
def test_accepting_is_refused(folder: Path, error: str) -> None:
    """While accept() fails, with any error, the daemon logs ever longer pauses and does not spin; later it serves."""
    with refusing(folder, "daemon", f"accept4:error={error}") as daemon:
        wait_until(lambda: (folder / "u.sock").exists(), "it listens")
        wait_until(lambda: daemon.asks(0.01) or daemon.log.count(" pause: ") >= 5, "the fifth pause")
        pauses = [int(pause) for pause in re.findall(r"pause_usec=(\d+)", daemon.log)]
        assert pauses[:5] == [100_000, 200_000, 400_000, 800_000, 1_600_000]
        assert daemon.hits <= 64 + 10
        daemon.relent()
        wait_until(lambda: daemon.asks(5), "it serves again")
        assert daemon.end() == 0


@pytest.mark.parametrize("call", ["recvmsg", "sendmsg", "close_range", "clone", "socketpair"])
def test_no_fork_after_fork(folder: Path, call: str) -> None:
    """While children cannot be made or used forking pauses, and the log names the call; later clients are served."""
    with refusing(folder, "daemon", f"{call}:error=EPERM", calls="clone") as daemon:
        wait_until(lambda: daemon.asks(0.01) or daemon.log.count(" throttle: ") >= 4, "the fourth pause")
        if call != "close_range":  # close_range has a fallback
            assert daemon.trace.count("clone(") <= 100
            assert re.search("cannot receive a connection: recvmsg|cannot hand over a connection|fork", daemon.log)
        daemon.relent()
        wait_until(lambda: daemon.asks(5), "it serves again")
        assert daemon.end() == 0


def test_every_call_of_a_start_is_known(folder: Path) -> None:
    """The list of calls is complete: a start makes no call that is not in it."""
    with refusing(folder, "daemon", calls="all") as daemon:
        wait_until(daemon.asks, "it serves")
        assert daemon.end() == 0
        made = set(re.findall(r"^\d+ +(\w+)\(", daemon.trace, re.MULTILINE))
    assert made - NEVER - CALLS.keys() == set()
