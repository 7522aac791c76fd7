"""The promises of a drain: ask, ask again, cut, kill, each in its time."""

import itertools
import signal

from upperd.server.drain import CUT_SECONDS, FIRST_REPEAT, LONGEST_REPEAT, Drain

START = 1000.0


def sent(drain: Drain, end: float) -> list[tuple[float, signal.Signals]]:
    """What a drain sends until `end` to children that never end, asked exactly when it wants to be."""
    found: list[tuple[float, signal.Signals]] = []
    now = START
    while now <= end:
        due = drain.signal_due(now)
        if due is not None:
            found.append((now - START, due))
        following = drain.next_deadline()
        assert following > now, "it would spin"
        now = following
    return found


def test_life() -> None:
    """SIGTERM at once and until the deadline, then SIGUSR1, and SIGKILL two seconds after that."""
    found = sent(Drain(START, 5.0), START + 10.0)
    by_signal = {number: [at for at, due in found if due == number] for number in dict.fromkeys(d for _, d in found)}
    assert list(by_signal) == [signal.SIGTERM, signal.SIGUSR1, signal.SIGKILL]
    assert (by_signal[signal.SIGTERM][0], by_signal[signal.SIGUSR1][0]) == (0.0, 5.0)
    assert by_signal[signal.SIGKILL][0] == 5.0 + CUT_SECONDS
    assert by_signal[signal.SIGTERM][-1] < 5.0
    assert by_signal[signal.SIGUSR1][-1] < 5.0 + CUT_SECONDS


def test_repeats() -> None:
    """A signal is repeated soon, then ever more slowly, at the latest every half second."""
    at = [at for at, _ in sent(Drain(START, 60.0), START + 5.0)]
    steps = [round(later - earlier, 6) for earlier, later in itertools.pairwise(at)]
    assert steps[:3] == [FIRST_REPEAT, FIRST_REPEAT * 2, FIRST_REPEAT * 4]
    assert set(steps[6:]) == {LONGEST_REPEAT}


def test_not_before_its_time() -> None:
    """Asked too early a drain sends nothing, and loses nothing by it."""
    drain = Drain(START, 5.0)
    assert drain.signal_due(START) == signal.SIGTERM
    assert drain.signal_due(START) is None
    assert drain.signal_due(START + FIRST_REPEAT / 2) is None
    assert drain.signal_due(START + FIRST_REPEAT) == signal.SIGTERM


def test_cutting() -> None:
    """A drain knows whether its deadline is over."""
    drain = Drain(START, 5.0)
    drain.signal_due(START + 4.9)
    assert not drain.is_cutting
    drain.signal_due(START + 5.0)
    assert drain.is_cutting
    drain.signal_due(START + 5.0 + CUT_SECONDS)
    assert drain.is_cutting


def test_no_time_at_all() -> None:
    """A drain without any time cuts at once."""
    assert Drain(START, 0.0).signal_due(START) == signal.SIGUSR1


def test_hasten() -> None:
    """A drain that is hastened cuts at once."""
    drain = Drain(START, 60.0)
    drain.signal_due(START)
    drain.hasten(START + 1.0)
    assert drain.next_deadline() <= START + 1.0
    assert drain.signal_due(START + 1.0) == signal.SIGUSR1


def test_hasten_never_delays() -> None:
    """A drain that is hastened after its deadline is not put off."""
    drain = Drain(START, 1.0)
    drain.hasten(START + 5.0)
    assert drain.signal_due(START + 1.0) == signal.SIGUSR1


def test_hasten_twice_kills() -> None:
    """A drain that is hastened while it cuts kills at once."""
    drain = Drain(START, 0.0)
    assert drain.signal_due(START) == signal.SIGUSR1
    drain.hasten(START + 0.1)
    assert drain.signal_due(START + 0.1) == signal.SIGKILL


def test_for_ever() -> None:
    """A drain without a deadline asks for ever and never cuts."""
    drain = Drain(START, float("inf"))
    assert drain.signal_due(START + 1e9) == signal.SIGTERM
    assert not drain.is_cutting
