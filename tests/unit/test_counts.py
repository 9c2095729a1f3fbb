"""When a channel's subscribers are told their number (protocol.md 6.7)."""

import pytest

from node.counts import Counts


@pytest.fixture
def told() -> list[str]:
    """The channels that were told, in order."""
    return []


@pytest.fixture
def counts(told: list[str]) -> Counts[str]:
    """What is tested."""
    return Counts(told.append)


def test_each_change_of_a_few_is_told_at_once(counts: Counts[str], told: list[str]) -> None:
    """Up to 100, and it is not told again although somebody here had come."""
    for count in (1, 2, 100, 99):
        counts.expect("x", 0.0)
        counts.change("x", count, 0.0)
    counts.poll(100.0)
    assert told == ["x"] * 4


def test_changes_of_many_are_told_every_five_seconds(counts: Counts[str], told: list[str]) -> None:
    """The first at once, then the latest when it is time; nothing without a change."""
    for second in range(12):
        counts.change("x", 101 + second, float(second))
        counts.poll(float(second))
    assert told == ["x"] * 3
    counts.poll(15.0)
    assert told == ["x"] * 4
    counts.poll(100.0)
    assert told == ["x"] * 4


def test_change_from_many_to_few_is_told_at_once(counts: Counts[str], told: list[str]) -> None:
    """And so are those that follow."""
    counts.change("x", 101, 0.0)
    counts.change("x", 102, 0.1)
    counts.change("x", 100, 0.2)
    counts.change("x", 99, 0.3)
    counts.poll(100.0)
    assert told == ["x"] * 3


def test_number_is_told_to_who_came_although_it_did_not_change(counts: Counts[str], told: list[str]) -> None:
    """Half a second later, once; five seconds later where there are many."""
    counts.expect("x", 0.0)
    counts.expect("x", 0.4)
    counts.poll(0.4)
    assert told == []
    counts.poll(0.5)
    counts.poll(1.0)
    assert told == ["x"]
    counts.change("y", 101, 1.0)
    counts.expect("y", 1.1)
    counts.poll(5.9)
    assert told == ["x", "y"]
    counts.poll(6.0)
    assert told == ["x", "y", "y"]


def test_channel_that_has_gone_is_forgotten(counts: Counts[str], told: list[str]) -> None:
    """Nothing is told, and a new one begins anew."""
    counts.change("x", 101, 0.0)
    counts.expect("x", 0.0)
    counts.forget("x")
    counts.forget("y")
    counts.poll(100.0)
    counts.change("x", 101, 0.1)
    assert told == ["x", "x"]
