"""SIGHUP: new settings for a daemon that runs.

The check is done by a process of its own, which the parent forks (recheck.py), so neither a bad file nor what it takes
to read one comes near the parent, which goes on serving meanwhile. One check at a time: a SIGHUP that comes during it
asks for one more after it, since the file may have been changed after it was read.
"""

from __future__ import annotations

import gc
import math
import os
import signal
import sys
from collections.abc import Callable

from upperd import __version__
from upperd.server import registry
from upperd.server.parent import Parent
from upperd.server.signals import Blocked
from upperd.service import log, settings
from upperd.service.listeners import StartError
from upperd.service.log import Log
from upperd.service.settings import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

EX_SOFTWARE = 70
MOST_SECONDS = 12.0
"""More than a check gives itself (recheck.py)."""
_ANSWER = 65536
"""Bytes: what a pipe holds (pipe(7))."""


class ReloadError(Exception):
    """There are no new settings. The text says why."""


class Reload:
    """The reloads of one daemon: a check, and what follows from it."""

    def __init__(
        self, parent: Parent, settings: Settings, log: Log, follow: Callable[[], object], done: Callable[[str], object]
    ) -> None:
        """`follow` is called when `settings` have changed, `done` at the end in any case, with what was wrong or ""."""
        self._parent, self._settings, self._log = parent, settings, log
        self._follow, self._done = follow, done
        self.renew: Callable[[], str] = str
        """Binds anew what was removed; returns what it did. Raises StartError."""
        self._is_wanted_again = False
        self.pid = 0
        """Of the process that checks; 0: there is none."""
        self._end_at = math.inf
        """When it is killed: something may have stopped it (SIGSTOP)."""
        parent.loop.timers.append(self._turn)

    def begin(self) -> None:
        """Begin a check, or have one follow the one that is under way."""
        if self.pid:
            self._is_wanted_again = True
            return
        try:
            self._start()
        except OSError as error:
            self._end(f"the check cannot be started: {error.strerror}")

    def _start(self) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reading, False)  # what the module of a handler has started may hold the other end
        try:
            ranges = registry.ranges_to_close((0, 1, 2, writing), everything=True)
            with registry.lock, Blocked():
                pid = os.fork()
                if pid == 0:
                    _be_check(writing, ranges, self._settings)
            pidfd = os.pidfd_open(pid)
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self.pid = pid
        self._end_at = self._parent.loop.now + MOST_SECONDS
        self._parent.loop.call_timers(self._end_at)
        self._parent.loop.watch(pidfd, lambda: self._ended(pidfd, reading))

    def _turn(self, now: float) -> float | None:
        if now >= self._end_at:
            self._end_at = math.inf
            os.kill(self.pid, signal.SIGKILL)
        return None if self._end_at == math.inf else self._end_at

    def _ended(self, pidfd: int, reading: int) -> None:
        self._parent.loop.unwatch(pidfd)
        os.close(pidfd)
        try:
            status = os.waitpid(self.pid, 0)[1]
        except ChildProcessError:
            status = EX_SOFTWARE << 8  # it was reaped elsewhere, and its status is lost
        self.pid, self._end_at = 0, math.inf
        try:
            answer = os.read(reading, _ANSWER).decode("utf-8", "surrogateescape")
        except BlockingIOError:
            answer = ""
        os.close(reading)
        self._end(self._take(status, answer))
        if self._is_wanted_again:
            self._is_wanted_again = False
            self.begin()

    def _take(self, status: int, answer: str) -> str:
        """Take the new settings over; or say what is wrong with them."""
        try:
            reloadable, fixed = outcome(status, answer)
            done = [changes(self._settings, reloadable), self.renew()]
        except (ReloadError, StartError) as error:
            return str(error)
        try:
            self._parent.board.extend(reloadable.max_children)
        except OSError as error:
            return f"max-children is {reloadable.max_children}: no room for its rows: {error.strerror}"
        self._log.write(log.INFO, "reload", "; ".join(filter(None, done)) or "nothing has changed")
        for name in settings.OF_UNIT if self._settings.socket_unit else ():
            if vars(fixed).pop(name, None) != getattr(self._settings, name, None):
                self._log.write(log.WARNING, "reload", settings.no_effect(name, self._settings.socket_unit))
        if ignored := changes(self._settings, fixed):
            self._log.write(log.WARNING, "reload", f"{ignored}: takes a restart, ignoring")
        vars(self._settings).update(vars(reloadable))
        self._follow()
        return ""

    def _end(self, problem: str) -> None:
        if problem:
            self._log.write(log.ERROR, "reload", f"{problem}; the old settings stay")
        self._done(problem)


def _be_check(answer: int, ranges: list[tuple[int, int]], settings: Settings) -> NoReturn:
    """In the process that was forked for it: check, write the answer, and end."""
    status = EX_SOFTWARE
    try:
        gc.freeze()  # what is the parent's is not closed by us
        registry.become_child(ranges)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if settings.folder:
            os.chdir(settings.folder)
        # Without the folders of the handler, in which is nothing of ours; and with our code as it is on disk by now.
        added = {*settings.python_path.split(os.pathsep), *settings.import_path.split(os.pathsep)}
        sys.path[:] = [*settings.library_path.split(os.pathsep), *(x for x in sys.path if x not in added)]
        for name in [name for name in sys.modules if name.partition(".")[0] == "upperd"]:
            del sys.modules[name]
        from upperd.service import recheck

        status, said = recheck.check(settings.arguments, settings.library_path, settings.import_path)
        os.write(answer, said.encode("utf-8", "surrogateescape"))  # whatever bytes a path may have
    finally:
        os._exit(status)


def outcome(status: int, answer: str) -> tuple[Settings, Settings]:
    """What a check has found: settings that a reload takes over, and others, or (ReloadError) what is wrong."""
    if os.WIFSIGNALED(status):
        raise ReloadError(f"the check was ended by signal {os.WTERMSIG(status)}: can the file be read?")
    if status:
        raise ReloadError(answer.strip() or f"the check ended with exit status {os.WEXITSTATUS(status)}")
    version, *parts = answer.split("\0\0")
    try:
        reloadable, fixed = (settings.parse(part.split("\0")) for part in parts if version == __version__)
    except ValueError:
        raise ReloadError(f"upperd {__version__} was replaced by another version: restart it") from None
    return reloadable, fixed


def changes(old: Settings, new: Settings) -> str:
    """Which of the settings in `new` differ from the old ones, for people: "max-children 64 -> 32, ..."."""
    pairs = [(name.replace("_", "-"), getattr(old, name, None), value) for name, value in vars(new).items()]
    return ", ".join(f"{key} {_shown(before)} -> {_shown(after)}" for key, before, after in pairs if before != after)


def _shown(value: object) -> object:
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    return "true" if value is True else value or "none"
