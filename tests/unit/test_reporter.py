"""The reporter, with simulated time and a log that only records."""

import signal
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reporting import Stage, record

from upperd.server.layout import UNKNOWN
from upperd.service import log, reporter
from upperd.service.reporter import RECORDS_A_SECOND


@pytest.fixture
def stage() -> Stage:
    """A reporter that has reported nothing yet."""
    return Stage()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The reporter's clock: `clock.now`."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(reporter, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


# The records of children


def test_normal_end(stage: Stage) -> None:
    """A normal end is one entry with the figures of the child."""
    stage.ends(1)
    level, event, text, fields = stage.log.entries[0]
    assert (level, event, text) == (log.INFO, "end", "child 4242 served 1 of uid 0, 30 B")
    assert {"child_pid": 4242, "bytes_in": 30, "undecodable": 5, "exit": "0"}.items() <= fields.items()


@pytest.mark.parametrize(
    ("reason", "level"),
    [("", log.ERROR), ("cut", log.WARNING), ("killed", log.WARNING), ("overdue", log.WARNING), ("stopped", log.WARNING),
     ("unruly", log.ERROR)],
)  # fmt: skip
def test_abnormal_end(stage: Stage, reason: str, level: int) -> None:
    """A crash is an error; a child that the parent ended is a warning, not a crash."""
    one = record(signal.SIGKILL)
    if reason == "cut":
        one.was_cut = True
    else:
        one.killed_for = reason
    stage.reporter.child_ended(one)
    assert [entry[:2] for entry in stage.log.entries] == [(level, "end")]


def test_child_that_served_nothing() -> None:
    """A child that served nothing is logged at debug only."""
    for level, count in (("info", 0), ("debug", 1)):
        stage = Stage(level)
        stage.reporter.child_ended(record(connections=0))
        assert len(stage.log.entries) == count


def test_rate(stage: Stage, clock: SimpleNamespace) -> None:
    """Fifty normal ends a second are recorded; the rest is one sum, due when the second is over, that adds up."""
    stage.ends(RECORDS_A_SECOND + 20)
    assert len(stage.log.of("end")) == RECORDS_A_SECOND == 50
    assert stage.reporter.turn(clock.now + 0.5) is not None
    assert stage.log.of("ends") == []
    stage.reporter.turn(clock.now + 1.0)
    assert stage.log.of("ends") == [
        {"children": 20, "connections": 20, "messages": 40, "bytes_in": 600, "bytes_out": 800, "undecodable": 100}
    ]


def test_turn_asks_for_the_sum(stage: Stage, clock: SimpleNamespace) -> None:
    """While there is a sum the reporter asks for a turn at the end of the second; afterwards for none."""
    stage.reporter.turn(clock.now)
    stage.ends(RECORDS_A_SECOND + 1)
    assert stage.reporter.turn(clock.now + 0.1) == clock.now + 1.0
    assert stage.reporter.turn(clock.now + 1.1) is None


def test_next_second(stage: Stage, clock: SimpleNamespace) -> None:
    """In the next second fifty are recorded again, after the sum of the last one."""
    stage.ends(RECORDS_A_SECOND + 3)
    clock.now += 1.0
    stage.ends(1)
    assert [event for _, event, _, _ in stage.log.entries] == ["end"] * 50 + ["ends", "end"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 130), st.floats(0, 1.5)), max_size=8))
def test_everything_adds_up(bursts: list[tuple[int, float]]) -> None:
    """At any rate the records and the sums together have every child and every byte."""
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
    """At the end a pending sum is written, once."""
    stage.ends(RECORDS_A_SECOND + 2)
    stage.reporter.flush()
    stage.reporter.flush()
    assert [one["children"] for one in stage.log.of("ends")] == [2]


def test_quiet_log(clock: SimpleNamespace) -> None:
    """If normal ends are not logged they are not summed either."""
    stage = Stage("warning")
    stage.ends(RECORDS_A_SECOND * 2)
    stage.reporter.flush()
    assert stage.log.entries == []


def test_lost_records_are_counted(stage: Stage) -> None:
    """The scoreboard shows how many entries the log lost."""
    stage.log.lost = 3
    stage.ends(1)
    assert stage.board["records_lost"] == 3


# Other events


def test_other_events(stage: Stage) -> None:
    """Each other event is an entry with its level."""
    stage.reporter.throttled("fork failed", 0.2)
    stage.reporter.resumed()
    stage.reporter.accept_failed(OSError(24, "Too many open files"), 0.1)
    stage.reporter.given_up(UNKNOWN)
    stage.reporter.given_up(1000)
    stage.reporter.scoreboard_overwritten()
    stage.reporter.deadline_passed(3)
    assert [entry[:2] for entry in stage.log.entries] == [
        (log.WARNING, "throttle"), (log.INFO, "resume"), (log.WARNING, "pause"), (log.ERROR, "lost"),
        (log.ERROR, "lost"), (log.ERROR, "scoreboard"), (log.WARNING, "cut"),
    ]  # fmt: skip
    assert (stage.log.of("throttle"), stage.log.of("cut")) == ([{"pause_usec": 200_000}], [{"connections": 3}])
    assert stage.log.of("lost") == [{}, {"peer_uid": 1000}]


def test_refusals_are_one_entry_a_second(stage: Stage) -> None:
    """However many connections are refused, there is one entry a second, with each reason and the last user."""
    stage.reporter.turn(10.0)
    for uid, reason in ((7, "refused_access"), (8, "refused_rate"), (UNKNOWN, "refused_access"), (9, "refused_user")):
        stage.reporter.refused(uid, reason)
    assert stage.reporter.turn(10.5) == 11.0
    assert stage.log.of("deny") == []
    assert stage.reporter.turn(11.0) == 12.0
    assert stage.log.of("deny") == [
        {"refused": 4, "refused_access": 2, "refused_user": 1, "refused_rate": 1, "peer_uid": 9}
    ]
    assert stage.log.entries[-1][2] == (
        "refused 4 connections: 2 by the access rules, 1 over one user's share of the queue, 1 over one user's rate; "
        "the last from uid 9"
    )
    stage.reporter.refused(UNKNOWN, "refused_access")
    stage.reporter.flush()
    stage.reporter.flush()
    assert len(stage.log.of("deny")) == 2
    assert "peer_uid" not in stage.log.of("deny")[1]


# Turns


def test_first_status(stage: Stage) -> None:
    """The first turn sends the status, and then nothing is due until something happens."""
    assert stage.reporter.turn(10.0) == 11.0
    assert stage.manager.sent == [f"STATUS={stage.reporter.status}"]
    assert stage.reporter.turn(11.0) is None


def test_one_status_a_second(stage: Stage) -> None:
    """While children are busy the status is sent once a second at most, and only when it changed."""
    child = stage.serves()
    for tenth in range(31):
        child.received(1)
        stage.reporter.turn(100.0 + tenth / 10)
    assert len(stage.manager.sent) == 4
    child.received(1)
    stage.reporter.turn(105.0)
    stage.reporter.turn(107.0)
    assert len(stage.manager.sent) == 5


def test_last_status_is_told(stage: Stage) -> None:
    """A change within a second of a status is sent when that second is over."""
    stage.reporter.turn(10.0)
    stage.board["forked"], stage.board["ended"], stage.board["connections"] = 1, 1, 1
    assert stage.reporter.turn(10.2) == 11.0
    stage.reporter.turn(11.0)
    assert "; 1 connection, " in stage.manager.sent[-1]
    assert stage.reporter.turn(12.0) is None


@pytest.mark.parametrize("watchdog_usec", [4_000_000, 0])
def test_watchdog(watchdog_usec: int) -> None:
    """The watchdog is fed at half of its time and never later; without a watchdog, never."""
    stage, now = Stage(watchdog_usec=watchdog_usec), 50.0
    for _ in range(10):
        following = stage.reporter.turn(now)
        if not watchdog_usec:
            break
        assert following is not None
        assert following <= now + 2.0
        now = following
    fed = stage.manager.sent.count("WATCHDOG=1")
    assert fed == pytest.approx((now - 50.0) / 2.0, abs=1 if watchdog_usec else 0)


def test_status_of_a_reused_child(stage: Stage) -> None:
    """When a child begins to serve, and when it waits again, the status says so, though none was forked or ended."""
    child = stage.serves()
    stage.reporter.turn(10.0)
    assert "1 busy" in stage.manager.sent[-1]
    child.release()
    stage.reporter.turn(11.0)
    assert stage.manager.sent[-1].startswith("STATUS=0 busy, 1 spare of 8 children; 1 connection")


def test_deaf_manager_is_named_once() -> None:
    """A manager that does not listen is reported once, and again only after it did."""
    stage = Stage(watchdog_usec=1_000_000)
    now = 0.0
    for works, said in ((False, 1), (False, 1), (True, 1), (False, 2)):
        stage.manager.works = works
        now += 10.0
        stage.reporter.turn(now)
        assert len(stage.log.of("notify")) == said
