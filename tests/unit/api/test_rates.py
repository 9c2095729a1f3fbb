"""Token buckets: what an app may ask in a second, on a clock that is an argument."""

import pytest

from node.api.rates import Rates


def allowed(rates: Rates, rate: float, now: float, attempts: int = 100) -> int:
    """How many of many requests at one moment are allowed."""
    taken = 0
    for _ in range(attempts):
        if rates.wait("a", rate, now) == 0:
            rates.take("a", rate, now)
            taken += 1
    return taken


def test_app_may_make_a_seconds_worth_at_once_and_then_its_rate() -> None:
    """A bucket never holds more than a second's worth."""
    rates = Rates()
    assert [allowed(rates, 10, now) for now in (0.0, 0.0, 0.5, 0.55, 100.0)] == [10, 0, 5, 0, 10]


@pytest.mark.parametrize("rate", [0.5, 1.0])
def test_app_may_make_one_request_when_its_rate_is_low(rate: float) -> None:
    """Less than one a second is possible."""
    rates = Rates()
    assert [allowed(rates, rate, now / rate) for now in (0.0, 0.9, 1.1)] == [1, 0, 1]


def test_wait_is_the_time_until_the_next_request() -> None:
    """In seconds, and bounded."""
    rates = Rates()
    rates.take("a", 0.25, 0.0)
    assert rates.wait("a", 0.25, 1.0) == 3.0
    rates.take("b", 5e-324, 0.0)
    assert rates.wait("b", 5e-324, 0.0) == 3600.0


def test_rate_of_zero_sets_no_limit() -> None:
    """And costs nothing."""
    assert allowed(Rates(), 0, 0.0, attempts=1000) == 1000


def test_apps_do_not_share_a_bucket() -> None:
    """One app's burst is not another's."""
    rates = Rates()
    assert allowed(rates, 1, 0.0) == 1
    assert rates.wait("b", 1, 0.0) == 0


def test_clock_that_was_set_back_neither_fills_nor_blocks() -> None:
    """It goes on from the new time."""
    rates = Rates()
    assert [allowed(rates, 10, now) for now in (1000.0, 10.0, 10.5)] == [10, 0, 5]


def test_what_costs_more_than_a_bucket_is_owed() -> None:
    """It waits for a full bucket, and the rate holds afterwards."""
    rates = Rates()
    rates.take("a", 10, 0.0)
    assert rates.wait("a", 10, 0.0, cost=100) == pytest.approx(0.1)
    assert rates.wait("a", 10, 0.1, cost=100) == 0
    rates.take("a", 10, 0.1, cost=100)
    assert rates.wait("a", 10, 0.1) == pytest.approx(9.1)
    assert rates.wait("a", 10, 9.3) == 0
