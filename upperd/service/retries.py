"""A configuration that is wrong never mends itself: a manager that starts us again and again does it ever more slowly.

systemd has RestartSteps= since 254 only, and its limits put the unit or its socket into "failed" for good. So the first
failure ends at once, as `systemctl start` has it; each further one of the same cause waits before it ends. How many
there were stands in the runtime folder. While we wait the count is gone: SIGTERM, of `systemctl restart`, begins anew.
A change of the file ends the wait.
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
"""Exit statuses of what never mends itself: the command line, and the configuration."""


def slow_down(status: int, reason: str, notifier: Notifier, config: str = "") -> None:
    """Wait before the end with `status`, if a manager started us, and the last start failed for the same `reason`."""
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
        pass  # then the next one does not wait


def forget() -> None:
    """A start has not failed."""
    if path := _path():
        try:
            os.unlink(path)
        except OSError:
            pass  # none had failed before


def _path() -> str:
    folder = paths.runtime_folder(dict(os.environ))
    return os.path.join(folder, _FILE) if folder else ""


def _open_plainly(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)


def _take(path: str, reason: str) -> int:
    """How many starts have failed for this reason until now. From now on it is none."""
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
