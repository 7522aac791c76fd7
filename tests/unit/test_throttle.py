"""The throttle, which pauses after failures."""

from upperd.server.limits import FIRST_PAUSE, LONGEST_PAUSE, Throttle


def test_free_at_first() -> None:
    """Before the first failure there is no pause."""
    throttle = Throttle()
    assert throttle.is_over(0.0)
    assert throttle.until is None
    assert not throttle.succeeded(0)


def test_pause() -> None:
    """A failure begins a pause, during which no attempt may be made."""
    throttle = Throttle()
    assert throttle.failed(10.0) == FIRST_PAUSE
    assert throttle.until == 10.0 + FIRST_PAUSE
    assert not throttle.is_over(10.0 + FIRST_PAUSE / 2)
    assert throttle.is_over(10.0 + FIRST_PAUSE)
    assert throttle.until is None


def test_one_pause_at_a_time() -> None:
    """Failures during a pause neither start another one nor lengthen it."""
    throttle = Throttle()
    throttle.failed(0.0)
    assert throttle.failed(FIRST_PAUSE / 2) is None
    assert throttle.until == FIRST_PAUSE


def test_pauses_double_up_to_a_bound() -> None:
    """A pause is twice as long as the last one while nothing succeeds, up to a limit."""
    throttle, now, pauses = Throttle(), 0.0, []
    for _ in range(8):
        pause = throttle.failed(now)
        assert pause is not None
        pauses.append(round(pause, 6))
        now += pause
        assert throttle.is_over(now)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, LONGEST_PAUSE, LONGEST_PAUSE]


def test_success_forgets() -> None:
    """The first success after a failure is distinguished from others, and the next pause is short again."""
    throttle = Throttle()
    for now in (0.0, 1.0):
        throttle.failed(now)
        assert throttle.is_over(now + 1.0)
    assert throttle.succeeded(1_000_000)
    assert not throttle.succeeded(2_000_000)
    assert throttle.failed(9.0) == FIRST_PAUSE


def test_success_of_the_past() -> None:
    """Success of a child forked before the last failure proves nothing: the pauses go on growing."""
    throttle = Throttle()
    throttle.failed(1.0)
    assert throttle.is_over(2.0)
    assert not throttle.succeeded(999_999)
    assert throttle.failed(2.0) == 2 * FIRST_PAUSE
