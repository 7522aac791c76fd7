"""Signals: each is noted once, and a child never runs a handler of its parent."""

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from upperd.server import signals
from upperd.server.signals import END, Blocked, Notes


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Undo what a test does to the signals of this process."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
    handlers = [signal.getsignal(number) for number in numbers]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


def test_notes_have_each_signal_once() -> None:
    """Each signal that arrived is reported once, in the order of first arrival."""
    notes = Notes(signal.SIGTERM, signal.SIGHUP)
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP):
        signal.raise_signal(number)
    assert notes.take() == [signal.SIGHUP, signal.SIGTERM]
    assert notes.take() == []


def test_notes_undo_what_was_inherited() -> None:
    """A signal that the starting program blocked or ignored still arrives, and SIGCHLD does nothing."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
    notes = Notes(signal.SIGHUP)
    signal.raise_signal(signal.SIGHUP)
    assert notes.take() == [signal.SIGHUP]
    assert signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL


def test_notes_can_have_the_end_of_children() -> None:
    """SIGCHLD is noted if requested."""
    notes = Notes(signal.SIGCHLD)
    signal.raise_signal(signal.SIGCHLD)
    assert notes.take() == [signal.SIGCHLD]


def test_an_exception_while_signals_are_blocked_leaves_none_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a handler raises while the signals are being blocked, they are delivered again afterwards."""
    real = signals._set_mask

    def raising(how: int, mask: tuple[int, ...]) -> set[int]:
        before = real(how, mask)
        if how == signal.SIG_BLOCK and mask:
            raise TimeoutError
        return before

    monkeypatch.setattr(signals, "_set_mask", raising)
    with pytest.raises(TimeoutError), Blocked():
        pass
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_storm_of_signals_is_survived() -> None:
    """Thousands of signals in quick succession make one note, and no deep stack."""
    notes = Notes(signal.SIGHUP)
    pid = os.fork()
    if pid == 0:
        for _ in range(20_000):
            os.kill(os.getppid(), signal.SIGHUP)
        os._exit(0)
    os.waitpid(pid, 0)
    assert notes.take() == [signal.SIGHUP]


def test_notes_are_taken_no_more() -> None:
    """After `block` a signal stays pending in the kernel."""
    notes = Notes(signal.SIGHUP)
    notes.block()
    signal.raise_signal(signal.SIGHUP)
    assert (notes.take(), signal.sigpending()) == ([], {signal.SIGHUP})
    signal.sigwait([signal.SIGHUP])


def test_no_signal_while_blocked() -> None:
    """A signal during a fork is delivered after it, and the mask is as before, with or without an error."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    notes = Notes(signal.SIGTERM)
    with contextlib.suppress(OSError), Blocked():
        signal.raise_signal(signal.SIGTERM)
        assert notes.take() == []
        raise OSError("no fork")
    assert notes.take() == [signal.SIGTERM]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_a_child_has_its_own_handlers() -> None:
    """A signal before a child has its handlers waits for those: SIGTERM ends, SIGINT and SIGHUP do not."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [END])  # as if the parent has it blocked
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: os._exit(1))
    reading, writing = os.pipe2(os.O_NONBLOCK)
    old = signal.set_wakeup_fd(writing)
    with Blocked() as signals:
        pid = os.fork()
        if pid == 0:
            ended: list[int] = []
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
                signal.raise_signal(number)
            signals.become_child(lambda number, frame: ended.append(number))
            os._exit(0 if ended == [END] else 2)
    signal.set_wakeup_fd(old)
    assert os.waitpid(pid, 0)[1] == 0
    with pytest.raises(BlockingIOError):
        os.read(reading, 1)
    os.close(reading)
    os.close(writing)
