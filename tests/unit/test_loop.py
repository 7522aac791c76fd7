"""The parent's loop: it calls the right callbacks, even if a descriptor's number is reused."""

from __future__ import annotations

import math
import os
import select
import signal
import socket
import threading
from collections.abc import Iterator
from time import monotonic

import pytest

from upperd.server.loop import STIR_SECONDS, Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A loop that has turned once."""
    loop = Loop()
    loop.turn(0)
    yield loop
    loop.close()


class Timer:
    """Notes when it was called, and asks for the given time."""

    def __init__(self, wants: float | None = None) -> None:
        self.wants = wants
        self.called: list[float] = []

    def __call__(self, now: float) -> float | None:
        """As the loop calls it."""
        self.called.append(now)
        return self.wants


def pair(loop: Loop, heard: list[str], name: str) -> tuple[socket.socket, socket.socket]:
    """Two sockets; data on the first one is read, and its name noted."""
    ours, theirs = socket.socketpair()
    loop.watch(ours.fileno(), lambda: heard.append(f"{name} {ours.recv(10).decode()}"))
    return ours, theirs


# Descriptors


def test_callbacks(loop: Loop) -> None:
    """A callback is called for its own descriptor, when it is readable or its other end is closed, and only then."""
    heard: list[str] = []
    (first, to_first), (second, to_second) = pair(loop, heard, "first"), pair(loop, heard, "second")
    with first, second, to_second:
        with to_first:
            assert not loop.turn(0)
            to_first.send(b"x")
            assert loop.turn(10)
        assert loop.turn(10)
        assert heard == ["first x", "first "]
        loop.unwatch(first.fileno())
        loop.unwatch(first.fileno())  # which is no error
        assert not loop.turn(0)


def test_what_is_watched_no_more_is_not_called_in_the_same_turn(loop: Loop) -> None:
    """If two are readable at once the first one may end the other, which is then not called."""
    called: list[int] = []
    sockets = [socket.socketpair() for _ in range(2)]

    def end_the_other(number: int) -> None:
        called.append(number)
        loop.close_late(sockets[1 - number][0])

    for number, (ours, theirs) in enumerate(sockets):
        loop.watch(ours.fileno(), lambda number=number: end_the_other(number))  # type: ignore[misc]
        theirs.send(b"x")
    loop.turn(10)
    assert len(called) == 1
    loop.close_late(sockets[called[0]][0])
    loop.turn(0)
    assert [ours.fileno() for ours, _ in sockets] == [-1, -1]
    for _, theirs in sockets:
        theirs.close()


def test_a_number_does_not_come_again_in_the_same_turn(loop: Loop) -> None:
    """A descriptor that is closed late keeps its number to the end of the turn: a new one cannot get its events."""
    sockets = [socket.socketpair() for _ in range(2)]
    numbers = {ours.fileno() for ours, _ in sockets}
    opened: list[socket.socket] = []
    wrong: list[str] = []

    def replace_both() -> None:
        for ours, _ in sockets:
            loop.close_late(ours)
        new, _other = socket.socketpair()
        opened.extend((new, _other))
        loop.watch(new.fileno(), lambda: wrong.append("an event of another socket"))

    for ours, theirs in sockets:
        loop.watch(ours.fileno(), replace_both)
        theirs.send(b"x")
    loop.turn(10)
    loop.turn(0)
    assert (wrong, numbers & {sock.fileno() for sock in opened}) == ([], set())
    with socket.socket() as another:
        assert another.fileno() in numbers
    for sock in (*opened, *(theirs for _, theirs in sockets)):
        sock.close()


def test_descriptors_of_the_loop() -> None:
    """The loop lists its open descriptors, and closes them, with those that wait to be closed."""
    loop = Loop()
    ours, theirs = socket.socketpair()
    loop.close_late(ours)
    own = loop.descriptors()
    assert ours.fileno() in own
    assert all(os.fstat(number) for number in own)
    assert not any(os.get_inheritable(number) for number in own)
    loop.close()
    theirs.close()
    for number in own:
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(number)


# Waking


def test_wake_from_another_thread(loop: Loop) -> None:
    """A loop that waits for ever turns when another thread wakes it."""
    thread = threading.Timer(0.05, loop.wake)
    thread.start()
    assert loop.turn()
    thread.join()
    assert not loop.turn(0)


def test_wake_from_a_signal_handler(loop: Loop) -> None:
    """A loop that waits for ever turns when a signal handler wakes it, however often."""
    before = signal.signal(signal.SIGUSR1, lambda *_: [loop.wake() for _ in range(1000)])
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    assert loop.turn()
    timer.join()
    signal.signal(signal.SIGUSR1, before)
    assert not loop.turn(0)


# Timers


@pytest.fixture
def polled(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Each wait that the loop asked for; none takes place."""
    waits: list[float] = []

    class _Epoll:
        def poll(self, timeout: float, events: int) -> list[tuple[int, int]]:
            waits.append(timeout)
            return []

        def close(self) -> None:
            epoll.close()

    epoll: select.epoll = loop._epoll
    monkeypatch.setattr(loop, "_epoll", _Epoll())
    return waits


def test_the_loop_waits_for_the_first_timer(loop: Loop, polled: list[float]) -> None:
    """All timers are called at the earliest time that one asks for; without such a time the loop waits for ever."""
    loop.turn()
    now = monotonic()
    timers = [Timer(now + 50), Timer(now + 20), Timer(None)]
    loop.timers.extend(timers)
    loop.call_timers()
    loop.turn()
    loop.turn()
    assert [len(timer.called) for timer in timers] == [1, 1, 1]
    assert polled == [-1, 0.0, pytest.approx(20, abs=5)]


def test_what_timers_have_done_is_acted_on_at_once(loop: Loop, polled: list[float]) -> None:
    """A turn after timers were called does not wait, since its owner may have something to do."""
    loop.timers.append(Timer(monotonic() + 50))
    loop.call_timers()
    loop.turn(30)
    assert polled == [0.0]


def test_something_that_happens_has_the_timers_called_soon(loop: Loop, polled: list[float]) -> None:
    """However late the timers' times are, the timers are called within half a second after an event."""
    for wants in (monotonic() + 600, None):
        loop.timers[:] = [Timer(wants)]
        loop.call_timers()
        loop.turn()
        loop.stir()
        loop.turn()
        assert 0 < polled.pop() <= STIR_SECONDS <= 0.5
    soon = loop.now + 0.01
    loop.timers[:] = [Timer(soon)]
    loop.call_timers()
    loop.turn()
    loop.stir()
    assert loop._deadline == soon


def test_a_timer_may_have_itself_called_earlier(loop: Loop, polled: list[float]) -> None:
    """A time that a timer asks for while the timers are called is not lost."""
    loop.timers.append(lambda now: loop.call_timers(now + 3))  # type: ignore[func-returns-value, arg-type]
    loop.call_timers()
    loop.turn()
    loop.turn()
    assert polled == [0.0, pytest.approx(3, abs=1)]
    assert loop._deadline != math.inf


def test_a_turn_has_a_limit(loop: Loop, polled: list[float]) -> None:
    """A turn waits no longer than its argument."""
    loop.turn(7)
    assert polled == [7]
