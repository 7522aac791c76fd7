"""Reloads on SIGHUP: gives a running daemon new settings.

A process that the parent forks checks them (recheck.py). So neither a bad file nor the modules that read it get into
the parent, which goes on serving meanwhile. Only one check runs at a time. A SIGHUP during a check triggers another
after it, because the file may have changed since it was read.
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
"""When a check is killed: later than its own time limit (recheck.py)."""
_ANSWER = 65536
"""Bytes of an answer at most: the capacity of a pipe (pipe(7))."""


class ReloadError(Exception):
    """The check failed, so there are no new settings. The text says why."""


class Reload:
    """The reloads of one daemon: starts a check, and applies its result."""

    def __init__(
        self, parent: Parent, settings: Settings, log: Log, follow: Callable[[], object], done: Callable[[str], object]
    ) -> None:
        """`follow` is called when `settings` have changed; `done` at the end of each reload, with its error or ""."""
        self._parent, self._settings, self._log = parent, settings, log
        self._follow, self._done = follow, done
        self.renew: Callable[[], str] = str
        """Binds removed paths again; returns what it did. Raises StartError."""
        self._is_wanted_again = False
        self.pid = 0
        """The pid of the checking process; 0: none runs."""
        self._end_at = math.inf
        """When the check is killed, in case something has stopped it (SIGSTOP)."""
        parent.loop.timers.append(self._turn)

    def begin(self) -> None:
        """Begin a check; if one is running, begin another after it."""
        if self.pid:
            self._is_wanted_again = True
            return
        try:
            self._start()
        except OSError as error:
            self._end(f"the check cannot be started: {error.strerror}")

    def _start(self) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(reading, False)  # processes that the handler's module started may hold the other end
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
        """Apply the new settings; return what is wrong with them, or empty."""
        try:
            reloadable, fixed = outcome(status, answer)
            done = [changes(self._settings, reloadable), self.renew()]
        except (ReloadError, StartError) as error:
            return str(error)
        try:
            self._parent.board.extend(reloadable.max_children)
        except OSError as error:
            return f"max-children is {reloadable.max_children}: no room for it in the scoreboard: {error.strerror}"
        self._log.write(log.INFO, "reload", "; ".join(filter(None, done)) or "nothing has changed")
        for name in settings.OF_UNIT if self._settings.socket_unit else ():
            if vars(fixed).pop(name, None) != getattr(self._settings, name, None):
                self._log.write(log.WARNING, "reload", settings.no_effect(name, self._settings.socket_unit))
        if ignored := changes(self._settings, fixed):
            self._log.write(log.WARNING, "reload", f"{ignored}: needs a restart, ignoring")
        vars(self._settings).update(vars(reloadable))
        self._follow()
        return ""

    def _end(self, problem: str) -> None:
        if problem:
            self._log.write(log.ERROR, "reload", f"the old settings stay: {problem}")
        self._done(problem)


def _be_check(answer: int, ranges: list[tuple[int, int]], settings: Settings) -> NoReturn:
    """In the forked process: check, write the answer, and exit."""
    status = EX_SOFTWARE
    try:
        gc.freeze()  # garbage collection here must not close what is the parent's
        registry.become_child(ranges)
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if settings.folder:
            os.chdir(settings.folder)
        # Leave out the handler's folders, which have none of our modules, and load our code as it is on disk now.
        added = {*settings.python_path.split(os.pathsep), *settings.import_path.split(os.pathsep)}
        sys.path[:] = [*settings.library_path.split(os.pathsep), *(x for x in sys.path if x not in added)]
        for name in [name for name in sys.modules if name.partition(".")[0] == "upperd"]:
            del sys.modules[name]
        from upperd.service import recheck

        status, said = recheck.check(settings.arguments, settings.library_path, settings.import_path)
        os.write(answer, said.encode("utf-8", "surrogateescape"))  # a path may have any bytes
    finally:
        os._exit(status)


def outcome(status: int, answer: str) -> tuple[Settings, Settings]:
    """Parse a check's answer: the settings that a reload applies, and the others. Raises ReloadError: what is wrong."""
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
