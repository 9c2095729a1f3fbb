"""The wheel: never early, late by its resolution at the most, and nothing is lost in it."""

import pytest

from node.timers import Wheel


@pytest.mark.parametrize("at", [0.0, 0.1, 0.25, 0.3, 0.5, 1_000_000.1])
def test_wheel_returns_an_item_within_its_resolution_and_never_early(at: float) -> None:
    """Also when it is due exactly between two buckets."""
    wheel: Wheel[str] = Wheel(0.25)
    wheel.schedule("item", at)
    assert wheel.poll(at - 0.001) == []
    assert wheel.poll(at + 0.25) == ["item"]


def test_wheel_returns_an_item_as_often_as_it_was_scheduled() -> None:
    """In the order of their times, and once each."""
    wheel: Wheel[str] = Wheel(1.0)
    for item, at in (("late", 7.5), ("early", 2.5), ("late", 3.5), ("early", 2.6)):
        wheel.schedule(item, at)
    assert wheel.poll(5.0) == ["early", "early", "late"]
    assert wheel.poll(8.0) == ["late"]
    assert wheel.poll(100.0) == []


def test_wheel_returns_an_item_at_once_when_its_time_is_past() -> None:
    """Who comes late is not forgotten."""
    wheel: Wheel[str] = Wheel(0.25)
    assert wheel.poll(100.0) == []
    wheel.schedule("item", 3.0)
    assert wheel.poll(100.0) == ["item"]


def test_wheel_takes_an_item_back_while_what_was_due_is_looked_at() -> None:
    """That is how it is used: nothing is returned twice in one poll."""
    wheel: Wheel[str] = Wheel(0.25)
    wheel.schedule("item", 1.0)
    for item in wheel.poll(2.0):
        wheel.schedule(item, 1.0)
    assert wheel.poll(2.0) == ["item"]


def test_wheel_holds_nothing_when_everything_was_returned() -> None:
    """No bucket and no number stays behind."""
    wheel: Wheel[int] = Wheel(0.25)
    for item in range(1000):
        wheel.schedule(item, item / 7)
    assert sorted(wheel.poll(1000.0)) == list(range(1000))
    assert (wheel._buckets, wheel._due) == ({}, [])
