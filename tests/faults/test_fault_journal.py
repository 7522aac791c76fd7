"""A journal that is gone or full loses no entry: what it does not take goes to standard error."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from account import asking, recorded
from running import COMMAND, Daemon, running, wait_until


class Journal:
    """A journal whose socket the daemon sees at the usual place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket: socket.socket | None = None
        self._entries = ""

    def open(self) -> None:
        """Listen."""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.setblocking(False)

    def close(self) -> None:
        """Remove the socket, read what it has received, and close it."""
        if self.socket is not None:
            self.path.unlink()
            self.entries()  # those sent until now
            self.socket.close()
            self.socket = None

    def entries(self) -> str:
        """All entries received."""
        with contextlib.suppress(BlockingIOError):
            while self.socket is not None:
                self._entries += self.socket.recv(65536).decode() + "\n"
        return self._entries

    def recorded(self) -> int:
        """How many connections the received records account for."""
        ends = [entry for entry in self.entries().split("\n\n") if "\nUPPERD_EVENT=end" in entry]
        return sum(int(count) for entry in ends for count in re.findall(r"\nUPPERD_CONNECTIONS=(\d+)", entry))


@pytest.fixture
def journal(folder: Path) -> Iterator[Journal]:
    """The journal of a daemon that sees the folder "run" as /run."""
    (folder / "run/systemd/journal").mkdir(parents=True)
    journal = Journal(folder / "run/systemd/journal/socket")
    journal.open()
    yield journal
    journal.close()


@contextlib.contextmanager
def _logging_to(journal: Journal, folder: Path) -> Iterator[Daemon]:
    """A daemon that takes its standard error for the journal's (JOURNAL_STREAM)."""
    (folder / "log").touch()
    status = (folder / "log").stat()
    single = ["--connections-per-child", "1"]  # a record for each
    options = ["--socket", f"{folder}/upperd.sock", "--no-fallback", *single]
    mount = f'mount --bind {folder}/run /run && exec "$@"'
    command = ["unshare", "--mount", "sh", "-c", mount, "sh", *COMMAND, *options]
    environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    with running(folder, command=command, environ=environ) as daemon:
        yield daemon


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("trouble", ["gone", "never read"])
def test_journal_in_trouble(folder: Path, journal: Journal, trouble: str) -> None:
    """Standard error gets the entries that the journal does not take; together they have each connection once."""
    with _logging_to(journal, folder) as daemon:
        wait_until(lambda: "UPPERD_EVENT=ready" in journal.entries(), "the journal has its entries")
        with asking(daemon) as account:
            wait_until(lambda: journal.recorded() > 0, "the journal has records")
            if trouble == "gone":
                journal.close()
            wait_until(lambda: recorded(daemon.log) > 0, "what it does not take stands on standard error")
            if trouble == "gone":
                journal.open()
            before = journal.recorded()
            wait_until(lambda: journal.recorded() > before, "it has entries again")
        account.check_children()
        account.check_scoreboard()
        assert daemon.stop() == 0
        assert journal.recorded() + recorded(daemon.log) == len(account.opened)
    assert re.search(r"(?m)^<6>end: child \d+ served 1 of uid 0, ", daemon.log)
