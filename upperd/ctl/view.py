"""What `upperctl` sees of a daemon: whether it runs, its scoreboard, its processes.

It reads locks, the scoreboard file, the state of the socket, the service manager and /proc. It never contacts the
daemon, so it works while the daemon is overloaded, and after it has ended.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cached_property

from upperd.base import installation, locks, paths
from upperd.base.text import printable
from upperd.ctl import sockets, units
from upperd.ctl.sockets import Answer
from upperd.ctl.usage import Usage, of_daemon
from upperd.server import layout
from upperd.server.snapshot import ScoreboardError, Snapshot, read

RUNNING, NOT_RUNNING, UNKNOWN = 0, 3, 4
"""Exit statuses of `upperctl status`: those that the LSB defines for the `status` of an init script."""
WORDS = {RUNNING: "running", NOT_RUNNING: "not running", UNKNOWN: "unknown"}


class DaemonView:
    """One look at the daemon of one socket: whether it runs, and its scoreboard if we may read it."""

    def __init__(self, path: str, socket: str = "") -> None:
        """`path`: the scoreboard; `socket`: the path of the daemon's socket; empty: any daemon."""
        self.path, self.socket = path, socket
        self.snapshot: Snapshot | None = None
        self.problem, self.is_denied, self.is_broken = "", False, False
        """Why there is no snapshot; whether we may not read it; whether the file is no scoreboard of this version."""
        self.pid = 0
        """0: unknown."""
        self.is_hidden_from_clients = False
        """Whether the daemon runs and its socket's path was removed."""
        self.usages: dict[int, Usage] = {}
        """Memory and processor time by pid; filled by `load_usages`."""
        try:
            self.snapshot = read(path)
        except FileNotFoundError:
            self.problem = f"no scoreboard at {path}"
        except PermissionError:
            self.is_denied = True
            self.problem = f"{path}: permission denied; the daemon's user and group may read it"
        except ScoreboardError as error:
            self.is_broken = True
            self.problem = f"{path}: {error}: remove it, and restart the daemon"
        except OSError as error:
            self.problem = f"{path}: {error.strerror}"
        self._is_anothers = False
        if other := self._other_socket():
            self._is_anothers = True
            self.snapshot, self.problem = None, f"{path} is the scoreboard of another daemon, on {other}"
        self.handler = None if self.snapshot is None else self.snapshot.handler
        """The handler of this daemon, or of the one before it; empty: upperd's own. None: unknown."""
        self.state = self._find_state()

    # Whether it runs

    def _find_state(self) -> int:
        """The daemon locks its scoreboard until it ends. Without such a lock, ask the kernel and the manager."""
        if self.snapshot is not None:
            self.pid = self.header["pid"]
            if _holder(self.path):
                return RUNNING
        state = self._find_state_elsewhere()
        if state != NOT_RUNNING and self.snapshot is not None:
            self.snapshot, self.problem = None, f"{self.path} has the last figures of an earlier daemon"
        return state

    def _find_state_elsewhere(self) -> int:
        """The state of a daemon whose scoreboard is elsewhere, or was removed."""
        beside = [] if self._is_anothers else [paths.lock_of(self.path)]
        if self.socket and not paths.is_abstract(self.socket):
            beside.append(paths.lock_of(self.socket))
        answer = sockets.ask(self.socket) if self.socket else Answer.DEAD
        if answer is Answer.DEAD:
            self.is_hidden_from_clients = bool(self.socket) and sockets.is_listed(self.socket)
            self.pid = sockets.pid_of_listed(self.socket) if self.is_hidden_from_clients else self.pid
        if pid := next(filter(None, map(_holder, beside)), 0):
            self.pid = max(pid, 0)
            return RUNNING
        if self.is_hidden_from_clients:
            return RUNNING
        if answer is Answer.HIDDEN and self.snapshot is not None and not sockets.is_listed(self.socket):
            answer = Answer.DEAD  # we may not connect, and the unlocked scoreboard says that its daemon has ended
        return NOT_RUNNING if answer is Answer.DEAD and not self.is_denied else self._find_listener(answer)

    def _find_listener(self, answer: Answer) -> int:
        """The state behind a socket that is open: a manager may hold it for a daemon that does not run."""
        if self.unit:
            self.pid = self.unit.main_pid
            return RUNNING if self.unit.is_active else NOT_RUNNING
        if answer is not Answer.LIVE:
            return UNKNOWN
        self.pid = sockets.listener_pid(self.socket)
        return RUNNING if self.pid and sockets.is_upperd(self.pid, paths.program_of(self.name)) else UNKNOWN

    @cached_property
    def unit(self) -> units.Unit | None:
        """The service that a manager runs on the socket; None: no such service, or no manager."""
        return units.of_socket(self.socket) if self.socket else None

    # Whose scoreboard it is

    @property
    def listening(self) -> list[str]:
        """The paths on which the daemon listens, by its scoreboard."""
        listeners = self.snapshot.listeners if self.snapshot is not None else []
        found = [line.partition(":")[2].rpartition(" (")[0] for line in listeners if line.startswith("unix")]
        return [path for path in found if path.startswith("/")]

    def _other_socket(self) -> str:
        """The socket of another daemon that has this scoreboard; empty: none is known.

        A daemon in another mount namespace may know our socket by another path.
        """
        if not self.socket or paths.is_abstract(self.socket) or any(_is_same(x, self.socket) for x in self.listening):
            return ""
        for path in self.listening:
            is_its = _is_same_file(paths.find_scoreboard(path), self.path)
            if is_its or (sockets.ask(path) is Answer.LIVE and sockets.ask(self.socket) is not Answer.LIVE):
                return path
        return ""

    @property
    def lost(self) -> list[str]:
        """The paths of a running daemon that were removed, so that no client finds it there."""
        if self.snapshot is None:
            return [self.socket] if self.is_hidden_from_clients else []
        is_ready = self.state == RUNNING and self.header["phase"] == layout.READY
        if not is_ready or not any(_is_same(path, self.socket) for path in self.listening):
            return []
        return [path for path in self.listening if sockets.ask(path) is Answer.DEAD]

    # What is known of it

    @property
    def name(self) -> str:
        """The daemon's name; without a snapshot, the one in its folder's name."""
        return self.snapshot.name if self.snapshot is not None else paths.name_of(self.path)

    @property
    def header(self) -> dict[str, int]:
        """The header of the snapshot; empty without one."""
        return self.snapshot.header if self.snapshot is not None else {}

    @property
    def children(self) -> list[dict[str, int]]:
        """The children that live. A daemon that was killed leaves its rows as they were, so they do not count."""
        return self.snapshot.children if self.snapshot is not None and self.state != NOT_RUNNING else []

    @property
    def busy(self) -> int:
        return sum(not child["waiting"] for child in self.children)

    @property
    def spare(self) -> int:
        return sum(child["waiting"] for child in self.children)

    def load_usages(self) -> DaemonView:
        """Look at the processes of a running daemon, too; returns itself."""
        if self.snapshot is not None and self.state != NOT_RUNNING:
            self.usages = of_daemon(self.snapshot)
        return self


def _holder(path: str) -> int:
    """As `locks.holder`; 0 also if we may not ask."""
    with suppress(OSError):
        return locks.holder(path)
    return 0


def _is_same(path: str, other: str) -> bool:
    """Whether two paths are those of one daemon. The system's socket lies in its folder, or in STATE below it."""
    one, two = (os.path.realpath(each) for each in (path, other))
    return one == two or (paths.is_of_system(one) and paths.without_state(one) == paths.without_state(two))


def _is_same_file(path: str, other: str) -> bool:
    with suppress(OSError):
        return os.path.samefile(path, other)
    return False


def find(path: str | None) -> DaemonView:
    """Look at the daemon of the socket at `path`; without one, at the first default path that has a daemon."""
    if path is not None and not paths.is_abstract(path):
        target = os.path.realpath(path)  # a link has no scoreboard beside it
        return DaemonView(paths.find_scoreboard(target), target)
    environ, uid = dict(os.environ), os.geteuid()
    trusted = paths.trusted_sockets(environ, uid)
    # A folder that is missing was removed under a daemon, as by a logout; it is not another user's.
    candidates = [
        x for x in paths.client_sockets(environ, uid) if x in trusted or not os.path.lexists(os.path.dirname(x))
    ]
    if path is not None:  # an abstract socket has its scoreboard in one of these folders
        found = [(paths.stand_in(path, candidate), path) for candidate in candidates]
    else:
        found = [(candidate, candidate) for candidate in map(os.path.realpath, candidates)]
    views = [DaemonView(paths.find_scoreboard(beside), socket) for beside, socket in found]
    telling = [view for view in views if view.snapshot is not None or view.state != NOT_RUNNING]
    return min(telling, key=lambda view: (RUNNING, UNKNOWN, NOT_RUNNING).index(view.state), default=views[-1])


def explain(view: DaemonView) -> str:
    """Why there are no figures, and what to do."""
    if view.is_denied or view.is_broken:
        return printable(view.problem)
    how = installation.command("start", "upperd --socket PATH")
    cure = {
        RUNNING: "; its scoreboard is elsewhere (--scoreboard), or was lost (its log says why)",
        NOT_RUNNING: f": start the daemon ({how}), or name its socket with --socket",
        UNKNOWN: _doubt(view),
    }.get(view.state, "")
    return f"{printable(view.problem)}{cure}"


def _doubt(view: DaemonView) -> str:
    """Why we cannot tell whether the daemon runs."""
    if view.pid:
        return f"; process {view.pid} listens on {printable(view.socket)}, and it may not be upperd"
    if sockets.ask(view.socket) is not Answer.LIVE:
        return ""
    return f"; a process that cannot be seen from here, as in another container, listens on {printable(view.socket)}"
