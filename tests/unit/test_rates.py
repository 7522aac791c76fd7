"""The rate limit: a token bucket for each user, without waiting."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upperd.service.policy import MOST_USERS, RateLimit

ALICE, BOB = 61001, 61002


def limited(rate: float) -> RateLimit:
    """A limit of `rate` connections a second."""
    rates = RateLimit()
    rates.limit(rate)
    return rates


@pytest.mark.parametrize("rate", [1000, 7, 2, 1, 0.5, 0.1, 0.01, 0.001])
def test_rate_is_kept(rate: float) -> None:
    """Over a long time a user that comes all the time is admitted as often as the rate says, however low it is."""
    rates, step = limited(rate), min(0.25 / rate, 1.0)
    steps = 4000
    served = sum(rates.admit(ALICE, number * step) for number in range(steps))
    assert served == pytest.approx(rate * step * steps + max(rate, 1), abs=1)


@pytest.mark.parametrize(("rate", "at_once"), [(5, 5), (1, 1), (0.5, 1), (2.5, 2)])
def test_burst(rate: float, at_once: int) -> None:
    """After a long absence a user may have a second's worth at once, and at least one."""
    rates = limited(rate)
    for start in (100.0, 200.0):
        assert [rates.admit(ALICE, start) for _ in range(at_once + 2)] == [True] * at_once + [False] * 2


@given(st.floats(0.01, 1000), st.lists(st.floats(0, 3), max_size=60))
def test_no_second_has_more(rate: float, pauses: list[float]) -> None:
    """Whatever the times of arrival, no interval admits more than the burst and the rate's share of it."""
    rates, now, admitted = limited(rate), 1000.0, list[float]()
    for pause in pauses:
        now += pause / rate
        if rates.admit(ALICE, now):
            admitted.append(now)
    for first, since in enumerate(admitted):
        for count, until in enumerate(admitted[first:], 1):
            assert count <= max(rate, 1) + (until - since) * rate + 1e-3


def test_refusals_cost_nothing() -> None:
    """However often a user is refused, it is admitted again when its next connection is due."""
    rates = limited(1)
    assert rates.admit(ALICE, 10.0)
    assert not any(rates.admit(ALICE, 10.0 + tenth / 10) for tenth in range(10))
    assert rates.admit(ALICE, 11.0)


def test_users_do_not_pay_for_each_other() -> None:
    """Each user has a bucket of its own, and without a limit there is none."""
    rates = limited(1)
    assert [rates.admit(uid, 5.0) for uid in (ALICE, BOB, ALICE, BOB)] == [True, True, False, False]
    rates.limit(0)
    assert all(rates.admit(ALICE, 5.0) for _ in range(1000))


def test_a_reload_forgets_only_where_the_rate_changes() -> None:
    """Setting the same rate again admits no more; another rate starts with full buckets."""
    rates = limited(1)
    rates.admit(ALICE, 5.0)
    rates.limit(1)
    assert not rates.admit(ALICE, 5.0)
    rates.limit(2)
    assert rates.admit(ALICE, 5.0)


def test_users_are_forgotten_when_their_buckets_are_full() -> None:
    """With very many users the memory is bounded, and a user with an empty bucket is still remembered."""
    rates = limited(100)
    assert [rates.admit(ALICE, 9.0) for _ in range(101)].count(True) == 100
    for uid in range(MOST_USERS + 1):
        rates.admit(uid, 9.0)
    assert not rates.admit(ALICE, 9.0)
    assert len(rates._full_at) <= MOST_USERS
