"""What must hold under any fault: no other client is affected, and every connection is accounted for.

Bystanders ask without pause, on connections that they hold and on new ones. At the end the spare children must be back,
no zombie may be left, and every accepted connection must be counted, in the scoreboard and in the log.
"""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from running import Daemon, lives, read_exactly, wait_until

from upperd.server import layout

PAUSE = 0.005
"""Seconds between two questions of a bystander, which leave processor time for the fault."""


class Bystander:
    """A client unrelated to the fault: it holds one connection, and opens another for each question."""

    def __init__(self, daemon: Daemon, number: int) -> None:
        self._daemon = daemon
        self._number = number
        self.asked = 0
        self.failures: list[str] = []
        self.turn = threading.Lock()
        """Locked while the bystander asks."""

    def ask_until(self, over: threading.Event) -> None:
        """Ask until `over` is set; `failures` lists what went wrong."""
        try:
            with self._daemon.connect() as held:
                while not over.wait(PAUSE):
                    with self.turn:
                        self._ask(held)
                    self.asked += 1
        except (OSError, ValueError) as error:
            self.failures.append(f"bystander {self._number}, question {self.asked}: {error!r}")

    def _ask(self, held: socket.socket) -> None:
        question = f"straße {self._number}, {self.asked}"
        asked, expected = question.encode(), question.upper().encode()
        held.sendall(asked)
        for answer in (read_exactly(held, len(expected)), self._daemon.ask(asked)):
            if answer != expected:
                raise ValueError(f"{answer!r}, not {expected!r}")


class Account:
    """The connections of one daemon, and its bystanders."""

    def __init__(self, daemon: Daemon, bystanders: int) -> None:
        self._daemon = daemon
        self.opened: list[socket.socket] = []
        """Every connection, open or not."""
        self.bystanders = [Bystander(daemon, number) for number in range(bystanders)]
        connect = daemon.connect

        def counted() -> socket.socket:
            connection = connect()
            self.opened.append(connection)
            return connection

        daemon.connect = counted  # type: ignore[method-assign]

    def wait_for_progress(self, questions: int = 3) -> None:
        """Wait until each bystander has received `questions` more answers."""
        before = [bystander.asked for bystander in self.bystanders]

        def progressed() -> bool:
            assert self.failures() == []
            return all(x.asked >= asked + questions for x, asked in zip(self.bystanders, before, strict=True))

        wait_until(progressed, "every bystander is served")

    def failures(self) -> list[str]:
        """What went wrong for the bystanders."""
        return [failure for bystander in self.bystanders for failure in bystander.failures]

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Suspend all bystanders; their held connections stay open."""
        with ExitStack() as until:
            for bystander in self.bystanders:
                until.enter_context(bystander.turn)
            yield

    # At the end

    def check_children(self) -> None:
        """As many children wait as configured; none is busy or a zombie. Users may have idle children besides."""
        daemon, header = self._daemon, self._daemon.board.header
        wanted = header["spare_children"]
        most = wanted if header["connections_per_child"] == 1 else header["max_children"]

        def are_back() -> bool:
            board = daemon.board
            return board.busy == 0 and wanted <= board.spare <= most

        wait_until(are_back, f"{wanted} spare children are back")
        wait_until(lambda: all(map(lives, daemon.children())), "no zombie is left")
        wait_until(lambda: len(daemon.children()) == daemon.board.spare, "there are no other children")

    def check_scoreboard(self) -> None:
        """Every connection is counted, once."""
        count = len(self.opened)
        wait_until(lambda: self._daemon.board.header["connections"] >= count, f"{count} connections are counted")
        assert self._daemon.board.header["connections"] == count

        def adds_up() -> bool:
            header = self._daemon.board.header
            return header["forked"] - header["ended"] == len(self._daemon.children())

        wait_until(adds_up, "every child that was forked lives, or has ended")

    def check_scoreboard_at_end(self) -> None:
        """After the daemon's end, its last figures and its records contain every connection once."""
        header = self._daemon.board.header
        assert header["connections"] == recorded(self._daemon.log) == len(self.opened)
        assert header["forked"] == header["ended"]

    def check_records(self) -> None:
        """Every connection is counted once, in a record of the log or in the row of a living child."""
        daemon, count = self._daemon, len(self.opened)

        def adds_up() -> bool:
            return recorded(daemon.log) + sum(child["connections"] for child in daemon.board.children) == count

        wait_until(adds_up, f"{count} connections are recorded")


def recorded(log: str) -> int:
    """How many connections the records of a log account for."""
    return sum(int(number) for number in re.findall(r"(?m)(?:^|[ >])ends?: .* connections=(\d+) ", log))


def once(log: str, pattern: str) -> str:
    """The only line of the log that matches the pattern."""
    found = [line for line in log.splitlines() if re.search(pattern, line)]
    assert len(found) == 1, f"{pattern!r} is in {len(found)} lines:\n{log[-4000:]}"
    return found[0]


@contextmanager
def asking(daemon: Daemon, bystanders: int = 2) -> Iterator[Account]:
    """Let bystanders ask during the block, and check that none is affected. Counts what `daemon.connect` opens."""
    account = Account(daemon, bystanders)
    over = threading.Event()
    threads = [threading.Thread(target=bystander.ask_until, args=(over,)) for bystander in account.bystanders]
    for thread in threads:
        thread.start()
    try:
        account.wait_for_progress(1)
        yield account
        account.wait_for_progress()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert account.failures() == []


@contextmanager
def unaffected(daemon: Daemon, bystanders: int = 2) -> Iterator[Account]:
    """Check the whole promise for a fault that happens inside the block."""
    with asking(daemon, bystanders) as account:
        yield account
    account.check_children()
    account.check_scoreboard()
    account.check_records()


def resident(pid: int) -> int:
    """Resident memory of a process in KiB, without the scoreboard's pages (proc(5), status, RssAnon)."""
    return _kib(Path(f"/proc/{pid}/status").read_text(), "RssAnon")


def _kib(text: str, name: str) -> int:
    found = re.search(rf"(?m)^{name}:\s+(\d+) kB$", text)
    assert found is not None
    return int(found[1])


@contextmanager
def held(daemon: Daemon) -> Iterator[tuple[socket.socket, int]]:
    """A connection that a child serves, and the pid of that child."""
    began = layout.now_usec()
    with daemon.connect() as connection:
        connection.sendall(b"marker")
        assert read_exactly(connection, 6) == b"MARKER"
        answered = layout.now_usec()

        def found() -> int:
            busy = [child for child in daemon.board.children if not child["waiting"]]
            mine = [child["pid"] for child in busy if began <= child["connected_usec"] <= answered]
            return mine[0] if len(mine) == 1 else 0

        yield connection, wait_until(found, "one child serves a connection that began then")


def waiting(daemon: Daemon) -> list[int]:
    """The pids of the children that wait for a connection."""
    return [child["pid"] for child in daemon.board.children if child["waiting"]]


def spare(daemon: Daemon) -> list[int]:
    """The pids of the waiting children that have not served any connection."""
    return [child["pid"] for child in daemon.board.children if not child["handed"]]


def is_stopped(pid: int) -> bool:
    """Whether the process is stopped (proc(5), stat)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
