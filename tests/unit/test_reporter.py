"""The promises of the reporter, with times that are made up and a log that is only listened to."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upperd.base.text import size
from upperd.server import layout
from upperd.server.layout import BUSY, UNKNOWN, WAITING
from upperd.server.observer import End
from upperd.server.scoreboard import Scoreboard
from upperd.service import log, reporter
from upperd.service.reporter import RECORDS_A_SECOND, Reporter, ending, status_line


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
    """Stands for the notifier: keeps what it is to send."""

    is_connected = True
    works = True

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, *assignments: str) -> bool:
        """Keep, or fail."""
        if self.works:
            self.sent += assignments
        return self.works


class Stage:
    """A reporter with all that it talks to."""

    def __init__(self, level: str = "info", watchdog_usec: int = 0) -> None:
        self.board = Scoreboard(slots=8)
        self.board["max_children"] = 8
        self.log = Entries(level)
        self.manager = Manager()
        self.reporter = Reporter(self.board, self.log, self.manager, watchdog_usec)  # type: ignore[arg-type]
        self.reporter.phase = ""

    def ends(self, count: int, status: int | None = 0) -> None:
        """This many children end."""
        for _ in range(count):
            self.reporter.child_ended(make_end(status))


@pytest.fixture
def stage() -> Stage:
    """A reporter that has said nothing yet."""
    return Stage()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The reporter's clock: `clock.now`."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(reporter, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def make_end(status: int | None = 0, connections: int = 1, **fields: int) -> End:
    """The account of a child that served a little."""
    row = dict.fromkeys(layout.SLOT_FIELDS, 0)
    row |= {"connections": connections, "messages": 2, "bytes_in": 30, "bytes_out": 40, "peer_uid": 1000}
    row |= {"outcome": layout.DONE, "connected_usec": 1, "undecodable": 5, "refused": 1, **fields}
    return End(4242, status, None, tuple(row.values()))


# Words


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (12_345_678, "12.3 MB"), (999_949, "999.9 kB"),
        (999_950, "1.0 MB"), (10**9, "1.0 GB"), (10**12, "1.0 TB"), (10**15, "1.0 PB"), (UNKNOWN, "18.4 EB"),
    ],
)
def test_size(count: int, text: str) -> None:
    """A number of bytes is shown in the unit that people read."""
    assert size(count) == text


@given(st.integers(0, UNKNOWN))
def test_size_is_short(count: int) -> None:
    """No size is longer than its column, and none shows 1000 of a unit."""
    number, unit = size(count).split()
    assert float(number) < 1000
    assert len(number) <= 5
    assert unit in ("B", "kB", "MB", "GB", "TB", "PB", "EB")


@pytest.mark.parametrize(
    ("status", "text"),
    [(None, "unknown"), (0, "0"), (3 << 8, "3"), (signal.SIGKILL, "SIGKILL"), (signal.SIGSEGV | 0x80, "SIGSEGV"),
     (40, "signal 40")],
)
def test_ending(status: int | None, text: str) -> None:
    """An end is an exit code, a signal's name, or unknown."""
    assert ending(status) == text


@pytest.mark.parametrize("code", [0, 7])
def test_ending_of_a_true_child(code: int) -> None:
    """What the kernel says of a child is read rightly."""
    pid = os.fork()
    if pid == 0:
        os._exit(code)
    assert ending(os.waitpid(pid, 0)[1]) == str(code)


def test_status_line_of_nothing(stage: Stage) -> None:
    """A daemon at rest says so in a short line."""
    assert status_line(stage.board, "") == "0 busy, 0 spare of 8 children; 0 connections, 0 B in, 0 B out"
    assert status_line(stage.board, "draining").startswith("draining: 0 busy")


def test_status_line(stage: Stage) -> None:
    """The line tells children, totals of the living and the ended, what went wrong, and the busiest."""
    board = stage.board
    board["connections"], board["crashed"], board["fork_failures"] = 10, 2, 1
    board.claim(0, WAITING)
    for uid, count in ((7, 100), (UNKNOWN, 2000)):
        index, slot = board.claim(0, BUSY)
        board.born(index, 50 + index)
        slot.connected(uid, uid, uid)
        slot.received(count)
    assert status_line(board, "") == (
        "2 busy, 1 spare of 8 children; 12 connections, 2.1 kB in, 0 B out; 2 crashed, 1 fork failures; "
        "busiest 52 (unknown peer) 2.0 kB in"
    )


# The account of children


def test_normal_end(stage: Stage) -> None:
    """A normal end is one entry with the figures of the child."""
    stage.ends(1)
    level, event, text, fields = stage.log.entries[0]
    assert (level, event, text) == (log.INFO, "end", "child 4242 served 1 of uid 1000, 30 B")
    expected = {"child_pid": 4242, "peer_uid": 1000, "connections": 1, "bytes_in": 30, "exit": "0", "outcome": "done"}
    assert expected.items() <= fields.items()


def test_unknown_peer(stage: Stage) -> None:
    """What cannot be known is left out of the fields."""
    stage.reporter.child_ended(make_end(peer_uid=UNKNOWN, peer_pid=UNKNOWN))
    assert not {"peer_uid", "peer_pid"} & set(stage.log.of("end")[0])
    assert "unknown peer" in stage.log.entries[0][2]


def test_nonsense_of_a_child(stage: Stage) -> None:
    """A broken child's nonsense is reported without a failure."""
    stage.reporter.child_ended(make_end(outcome=77, connected_usec=UNKNOWN))
    fields = stage.log.of("end")[0]
    assert (fields["outcome"], fields["duration_usec"]) == ("unknown", 0)


def test_resources(stage: Stage) -> None:
    """What the kernel measured is in the record, where it is known."""
    end = make_end()
    end.rusage = SimpleNamespace(ru_maxrss=900, ru_utime=0.5, ru_stime=0.25)  # type: ignore[assignment]
    stage.reporter.child_ended(end)
    expected = {"maxrss_kb": 900, "user_usec": 500_000, "system_usec": 250_000}
    assert expected.items() <= stage.log.of("end")[0].items()


@pytest.mark.parametrize(
    ("status", "text"),
    [(signal.SIGSEGV, "ended by SIGSEGV"), (1 << 8, "ended with exit code 1"), (signal.SIGKILL, "(out of memory?)")],
)
def test_abnormal_end(stage: Stage, status: int, text: str) -> None:
    """An abnormal end is an error, and its sentence says how."""
    stage.ends(1, status)
    assert stage.log.entries[0][0] == log.ERROR
    assert text in stage.log.entries[0][2]


@pytest.mark.parametrize(("attribute", "word"), [("was_cut", "was cut"), ("was_killed", "was killed")])
def test_end_at_the_deadline(stage: Stage, attribute: str, word: str) -> None:
    """A child that the drain deadline ended is a warning, not a crash."""
    end = make_end(signal.SIGKILL)
    setattr(end, attribute, True)
    stage.reporter.child_ended(end)
    level, _, text, _ = stage.log.entries[0]
    assert level == log.WARNING
    assert text.endswith(f"{word} at the drain deadline")


def test_child_that_served_nobody() -> None:
    """A child that served nobody is worth a word at debug only."""
    for level, count in (("info", 0), ("debug", 1)):
        stage = Stage(level)
        stage.reporter.child_ended(make_end(connections=0))
        assert len(stage.log.entries) == count


def test_rate(stage: Stage, clock: SimpleNamespace) -> None:
    """Fifty normal ends a second are recorded; the rest is one sum, due when the second is over, that adds up."""
    stage.ends(RECORDS_A_SECOND + 20)
    assert len(stage.log.of("end")) == RECORDS_A_SECOND == 50
    assert stage.reporter.turn(clock.now + 0.5) is not None
    assert stage.log.of("ends") == []
    stage.reporter.turn(clock.now + 1.0)
    assert stage.log.of("ends") == [
        {"children": 20, "connections": 20, "messages": 40, "bytes_in": 600, "bytes_out": 800, "undecodable": 100,
         "refused": 20}
    ]


def test_turn_asks_for_the_sum(stage: Stage, clock: SimpleNamespace) -> None:
    """While something is summed the reporter wants a turn at the end of the second, and is not at rest."""
    stage.reporter.turn(clock.now)
    stage.ends(RECORDS_A_SECOND + 1)
    assert stage.reporter.turn(clock.now + 0.1) == clock.now + 1.0
    assert not stage.reporter.at_rest
    assert stage.reporter.turn(clock.now + 1.1) is None
    assert stage.reporter.at_rest


def test_next_second(stage: Stage, clock: SimpleNamespace) -> None:
    """In the next second fifty are recorded again, after the sum of the one before."""
    stage.ends(RECORDS_A_SECOND + 3)
    clock.now += 1.0
    stage.ends(1)
    assert [event for _, event, _, _ in stage.log.entries] == ["end"] * 50 + ["ends", "end"]


@given(st.lists(st.tuples(st.integers(0, 130), st.floats(0, 1.5)), max_size=8))
def test_everything_adds_up(bursts: list[tuple[int, float]]) -> None:
    """Whatever the rate, the records and the sums together have every child and every byte."""
    with pytest.MonkeyPatch.context() as patch:
        clock = SimpleNamespace(now=5.0)
        patch.setattr(reporter, "time", SimpleNamespace(monotonic=lambda: clock.now))
        stage = Stage()
        for count, pause in bursts:
            stage.ends(count)
            clock.now += pause
            stage.reporter.turn(clock.now)
        stage.reporter.flush()
    children = sum(count for count, _ in bursts)
    sums = stage.log.of("ends")
    assert len(stage.log.of("end")) + sum(int(str(one["children"])) for one in sums) == children
    assert sum(int(str(one["bytes_in"])) for one in stage.log.of("end") + sums) == children * 30


def test_abnormal_ends_are_never_summed(stage: Stage, clock: SimpleNamespace) -> None:
    """However many children crash in a second, each has its record."""
    stage.ends(RECORDS_A_SECOND + 5)
    stage.ends(100, signal.SIGSEGV)
    assert len(stage.log.of("end")) == RECORDS_A_SECOND + 100


def test_flush(stage: Stage, clock: SimpleNamespace) -> None:
    """At the end what is still summed is written, once."""
    stage.ends(RECORDS_A_SECOND + 2)
    stage.reporter.flush()
    stage.reporter.flush()
    assert [one["children"] for one in stage.log.of("ends")] == [2]


def test_quiet_log(clock: SimpleNamespace) -> None:
    """Where normal ends are not logged they are not summed either."""
    stage = Stage("warning")
    stage.ends(RECORDS_A_SECOND * 2)
    stage.reporter.flush()
    assert stage.log.entries == []


def test_lost_records_are_counted(stage: Stage) -> None:
    """How many entries the log lost stands in the scoreboard."""
    stage.log.lost = 3
    stage.ends(1)
    assert stage.board["records_lost"] == 3


def test_other_events(stage: Stage) -> None:
    """A pause, its end, and the drain deadline are each an entry with its level."""
    stage.reporter.throttled("fork failed", 0.2)
    stage.reporter.resumed()
    stage.reporter.deadline_passed(3)
    assert [entry[:2] for entry in stage.log.entries] == [
        (log.WARNING, "throttle"), (log.INFO, "resume"), (log.WARNING, "cut"),
    ]
    assert (stage.log.of("throttle"), stage.log.of("cut")) == ([{"pause_usec": 200_000}], [{"children": 3}])


# Turns


def test_first_status(stage: Stage) -> None:
    """The first turn tells the status, and then nothing moves until something happens."""
    assert stage.reporter.turn(10.0) == 11.0
    assert stage.manager.sent == [f"STATUS={stage.reporter.status()}"]
    assert stage.reporter.turn(11.0) is None
    assert stage.reporter.at_rest


def test_one_status_a_second(stage: Stage) -> None:
    """While children are busy the status goes out once a second at most, and only when it changed."""
    _, slot = stage.board.claim(0, BUSY)
    for tenth in range(31):
        slot.received(1)
        stage.reporter.turn(100.0 + tenth / 10)
    assert len(stage.manager.sent) == 4
    slot.received(1)
    stage.reporter.turn(105.0)
    stage.reporter.turn(107.0)
    assert len(stage.manager.sent) == 5


def test_last_status_is_told(stage: Stage) -> None:
    """What happened within a second of a status is told when that second is over."""
    stage.reporter.turn(10.0)
    stage.board["forked"], stage.board["ended"], stage.board["connections"] = 1, 1, 1
    assert stage.reporter.turn(10.2) == 11.0
    assert not stage.reporter.at_rest
    stage.reporter.turn(11.0)
    assert "1 connections" in stage.manager.sent[-1]
    assert stage.reporter.turn(12.0) is None


def test_watchdog() -> None:
    """The watchdog is fed at half of its time, and never later."""
    stage, now = Stage(watchdog_usec=4_000_000), 50.0
    for _ in range(10):
        following = stage.reporter.turn(now)
        assert following is not None
        assert following <= now + 2.0
        now = following
    fed = stage.manager.sent.count("WATCHDOG=1")
    assert fed == pytest.approx((now - 50.0) / 2.0, abs=1)


def test_no_watchdog(stage: Stage) -> None:
    """Without a watchdog none is fed."""
    stage.reporter.turn(1.0)
    assert "WATCHDOG=1" not in stage.manager.sent


def test_words_have_no_newline(stage: Stage, tmp_path: Path) -> None:
    """A status is one line."""
    assert "\n" not in status_line(stage.board, "starting")
    assert "\n" not in stage.reporter.status()


def test_status_after_a_reused_child_became_idle(stage: Stage) -> None:
    """When the last busy child waits again the status says so, though no child was forked and none ended."""
    _, slot = stage.board.claim(0, WAITING)
    stage.reporter.turn(10.0)
    slot.connected(7, 7, 7)
    slot.take(7)
    assert stage.reporter.turn(20.0) == 21.0
    assert "1 busy" in stage.manager.sent[-1]
    slot.wait()
    stage.reporter.turn(21.0)
    assert stage.manager.sent[-1].startswith("STATUS=0 busy, 1 spare of 8 children; 1 connections")


def test_status_after_a_connection_that_nobody_saw(stage: Stage) -> None:
    """A connection of a reused child that was over before the parent looked is in the next status all the same."""
    _, slot = stage.board.claim(0, WAITING)
    stage.reporter.turn(10.0)
    slot.connected(7, 7, 7)
    stage.reporter.turn(20.0)
    stage.reporter.turn(21.0)
    assert "1 connections" in stage.manager.sent[-1]


def test_deaf_manager_is_named_once() -> None:
    """That the manager does not listen is said once, and again only after it did."""
    stage = Stage(watchdog_usec=1_000_000)
    now = 0.0
    for works, said in ((False, 1), (False, 1), (True, 1), (False, 2)):
        stage.manager.works = works
        now += 10.0
        stage.reporter.turn(now)
        assert len(stage.log.of("notify")) == said
