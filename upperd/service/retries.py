"""Slows down a manager that keeps restarting the daemon although its command line or configuration is wrong.

systemd has RestartSteps= only since 254, and its start limits put the unit or its socket into "failed" for good. So the
first failure exits at once, and `systemctl start` returns; each further failure for the same reason waits longer before
it exits. A file in the runtime folder counts the failures. It is absent during a wait, so that a SIGTERM then (from
`systemctl restart`) resets the count. In the launcher, a change of the configuration file ends the wait.
"""

from __future__ import annotations

import os
import select
import signal
import time

from upperd.base import paths
from upperd.service.notify import Notifier

_FILE = "failed-starts"
_MOST_SECONDS = 60
_LOOK_SECONDS = 1.0
_UNMENDED = (64, 78)
"""Exit statuses of errors that no restart cures: in the command line, and in the configuration."""


def slow_down(status: int, reason: str, notifier: Notifier, config: str = "") -> None:
    """Wait before an exit with `status`, if a manager started us and the last start failed for the same `reason`."""
    path = _path()
    if not (path and notifier.is_connected and status in _UNMENDED):
        return
    failures = _take(path, reason)
    if failures:
        _wait(min(2**failures, _MOST_SECONDS), reason, notifier, config)
    try:
        with open(path, "w", encoding="utf-8", errors="surrogateescape", opener=_open_plainly) as file:
            file.write(f"{min(failures + 1, 10)} {reason}")
    except OSError:
        pass  # the next failure does not wait then


def forget() -> None:
    """Reset the count of failed starts, after one that succeeded."""
    if path := _path():
        try:
            os.unlink(path)
        except OSError:
            pass  # no start had failed before


def _path() -> str:
    folder = paths.runtime_folder(dict(os.environ))
    return os.path.join(folder, _FILE) if folder else ""


def _open_plainly(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)


def _take(path: str, reason: str) -> int:
    """Remove the count; return how many starts had failed for this reason."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", opener=_open_plainly) as file:
            count, _, before = file.read(65536).partition(" ")
        os.unlink(path)
    except OSError:
        return 0
    return min(int(count), 10) if before == reason and count.isascii() and count.isdigit() else 0


def _wait(seconds: int, reason: str, notifier: Notifier, config: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    then = f"in {seconds} s" + (f", or when {config} is changed" if config else "")
    notifier.send(f"EXTEND_TIMEOUT_USEC={(seconds + 30) * 1_000_000}", f"STATUS={reason}; the next start is {then}")
    end, before = time.monotonic() + seconds, _state(config)
    while time.monotonic() < end and _state(config) == before:
        notifier.flush(_LOOK_SECONDS)
        select.select([], [], [], _LOOK_SECONDS)


def _state(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
