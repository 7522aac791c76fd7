"""SIGHUP: new settings for a daemon that runs.

The check is done by a process of its own (recheck.py), so neither a bad file nor what it takes to read one comes near
the parent, which goes on serving meanwhile. One check at a time: a SIGHUP that comes during it asks for one more after
it, since the file may have been changed after it was read.
"""

from __future__ import annotations

import os
import sys

from upperd import __version__
from upperd.service import log, settings
from upperd.service.opening import too_few_children

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from upperd.server.parent import Parent
    from upperd.service.log import Log
    from upperd.service.settings import Settings

CHANGEABLE = (
    *("max_children", "max_children_per_user", "spare_children", "connections_per_child", "max_rate_per_user"),
    *("idle_timeout", "max_lifetime", "max_bytes", "allow_user", "allow_group", "deny_user"),
    *("drain_timeout", "idle_exit", "log_level"),
)
"""The settings that a reload changes."""
FIXED = (
    *("socket", "socket_mode", "socket_owner", "socket_group", "no_socket", "tcp", "tcp_allow_remote"),
    *("udp", "datagram", "fallback", "scoreboard", "pid_file", "store_listeners", "ready_fd"),
)
"""Those that take a restart."""

EX_SOFTWARE = 70
_ANSWER = 65536
"""Bytes: what a pipe holds (pipe(7))."""


class ReloadError(Exception):
    """There are no new settings. The text says why."""


class Reload:
    """The reloads of one daemon: a check, and what follows from it."""

    def __init__(
        self,
        parent: Parent,
        settings: Settings,
        log_to: Log,
        follow: Callable[[], object],
        done: Callable[[str], object],
    ) -> None:
        """`follow` is called when `settings` have changed, `done` at the end in any case, with what was wrong or ""."""
        self._parent = parent
        self._settings = settings
        self._log = log_to
        self._follow = follow
        self._done = done
        self._is_under_way = False
        self._is_wanted_again = False
        self.pid = 0
        """Of the process that checks; 0: there is none."""

    def begin(self) -> None:
        """Begin a check, or have one follow the one that is under way."""
        if self._is_under_way:
            self._is_wanted_again = True
            return
        try:
            self._start()
        except OSError as error:
            self._end(f"the check cannot be started: {error.strerror}")

    def _start(self) -> None:
        folder = os.path.dirname(os.path.abspath(__file__))
        # The import path is what lean.py was given as its first argument.
        command = [sys.executable, "-I", "-S", f"{folder}/recheck.py", sys.argv[1], self._settings.arguments]
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            # posix_spawn(3) and not fork(): it copies nothing of us.
            pid = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1)])
            pidfd = os.pidfd_open(pid)
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self._is_under_way = True
        self.pid = pid
        self._parent.watch(pidfd, lambda: self._ended(pid, pidfd, reading))

    def _ended(self, pid: int, pidfd: int, reading: int) -> None:
        self._parent.unwatch(pidfd)
        os.close(pidfd)
        status = _wait(pid)
        self.pid = 0
        answer = os.read(reading, _ANSWER).decode("utf-8", "surrogateescape")
        os.close(reading)
        self._is_under_way = False
        self._end(self._take(status, answer))
        if self._is_wanted_again:
            self._is_wanted_again = False
            self.begin()

    def _take(self, status: int, answer: str) -> str:
        """Take the new settings over; or say what is wrong with them."""
        try:
            new = _outcome(status, answer)
        except ReloadError as error:
            return str(error)
        listeners = len(self._parent.servers)
        if new.max_children < listeners:
            return too_few_children(new.max_children, listeners)
        self._log.write(log.INFO, "reload", changes(self._settings, new, CHANGEABLE) or "nothing has changed")
        if ignored := changes(self._settings, new, FIXED):
            self._log.write(log.WARNING, "reload", f"{ignored}: takes a restart, ignoring")
        for name in CHANGEABLE:
            setattr(self._settings, name, getattr(new, name))
        self._follow()
        return ""

    def _end(self, problem: str) -> None:
        if problem:
            self._log.write(log.ERROR, "reload", f"{problem}; the old settings stay")
        self._done(problem)


def _wait(pid: int) -> int:
    try:
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:
        return EX_SOFTWARE << 8  # somebody else has reaped it, so nobody knows


def _outcome(status: int, answer: str) -> Settings:
    """The settings that a check has found. Raises ReloadError."""
    if status == 0:
        version, *words = answer.removesuffix("\n").split("\n")
        try:
            if version != __version__:
                raise ValueError(version)
            return settings.parse(words)
        except ValueError:
            raise ReloadError(f"upperd {__version__} was replaced by another version: restart it") from None
    if os.WIFSIGNALED(status):
        raise ReloadError(f"the check was ended by signal {os.WTERMSIG(status)}: can the file be read?")
    raise ReloadError(answer.strip() or f"the check ended with exit status {os.WEXITSTATUS(status)}")


def changes(old: Settings, new: Settings, names: tuple[str, ...]) -> str:
    """Which of these settings differ, for people: "max-children 64 -> 32, ..."."""
    pairs = [(name, getattr(old, name), getattr(new, name)) for name in names]
    return ", ".join(
        f"{name.replace('_', '-')} {before or 'none'} -> {after or 'none'}"
        for name, before, after in pairs
        if before != after
    )
