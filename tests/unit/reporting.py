"""Shared by the tests of the reporter: a reporter with a log and a manager that only record."""

from stage import MadeUpChild

from upperd.server import layout
from upperd.server.exits import ExitRecord
from upperd.server.layout import ROW_FIELDS, Outcome
from upperd.server.row import Row
from upperd.server.scoreboard import Scoreboard
from upperd.service import log
from upperd.service.reporter import Reporter


class Entries(log.Log):
    """A log that keeps its entries."""

    def __init__(self, level: str = "info") -> None:
        super().__init__(level)
        self.entries: list[tuple[int, str, str, dict[str, object]]] = []

    def write(self, level: int, event: str, text: str, **fields: object) -> None:
        """Keep one entry."""
        if self.is_on(level):
            self.entries.append((level, event, text, fields))

    def of(self, event: str) -> list[dict[str, object]]:
        """The fields of every entry of this event."""
        return [fields for _, name, _, fields in self.entries if name == event]


class Manager:
    """Stands for the notifier: keeps what it should send."""

    is_connected = True
    works = True

    def __init__(self) -> None:
        self.sent: list[str] = []

    def tell(self, *assignments: str) -> bool:
        """Keep the message, or fail."""
        if self.works:
            self.sent += assignments
        return self.works


class Stage:
    """A reporter with everything that it reports to."""

    def __init__(self, level: str = "info", watchdog_usec: int = 0) -> None:
        self.board = Scoreboard(slots=8)
        self.board["max_children"] = 8
        self.log = Entries(level)
        self.manager = Manager()
        counters = ["undecodable"]
        self.reporter = Reporter(self.board, self.log, self.manager, watchdog_usec, counters)  # type: ignore[arg-type]
        self.reporter.phase = ""

    def ends(self, count: int, status: int | None = 0) -> None:
        """Let this many children end."""
        for _ in range(count):
            self.reporter.child_ended(record(status))

    def serves(self) -> Row:
        """Let a child begin to serve a connection."""
        _, place, row = self.board.claim()
        place[layout.HANDED] = 1
        child = Row(row)
        child.begin()
        return child


def record(
    status: int | None = 0,
    connections: int = 1,
    peer: tuple[int, int, int] = (0, 0, 0),
    ending: Outcome = Outcome.NONE,
    **row: int,
) -> ExitRecord:
    """The record of a child that served a little; `row`: the child's own figures."""
    child = MadeUpChild(Scoreboard(slots=1))
    child.close()
    child.pid = 4242
    child.handed, child.peer, child.ending = connections, peer, ending
    row = {"connections": connections, "messages": 2, "bytes_in": 30, "bytes_out": 40, "counter_0": 5} | row
    for name, value in row.items():
        child.row[ROW_FIELDS.index(name)] = value
    return ExitRecord(child, status, None)
