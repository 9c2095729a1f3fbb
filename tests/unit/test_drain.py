"""When a leaving node closes whom, and how long it takes."""

import random

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from node.config.settings import Drain, Nats, Presence, Settings
from node.config.webhooks import WebhookSettings
from node.drain import Schedule, longest_stop

CLUSTERED = Nats(servers=("nats://n:4222",))


def schedule(count: int, spread: float, seed: int = 0) -> Schedule[int]:
    """The numbers below `count`, from second 100 on."""
    return Schedule(range(count), 100.0, spread, random.Random(seed).shuffle)


@given(st.integers(0, 500), st.floats(0, 60), st.lists(st.floats(100, 200), max_size=50))
def test_schedule_names_each_item_once_whenever_it_is_asked(count: int, spread: float, times: list[float]) -> None:
    """And all of them when the spread is over."""
    plan = schedule(count, spread)
    named = [item for now in sorted(times) for item in plan.poll(now)]
    named += plan.poll(101 + spread)
    assert sorted(named) == list(range(count))
    assert plan.remaining == 0
    assert plan.poll(1000) == []


@given(st.integers(1, 5000), st.floats(1, 60), st.integers(1, 100))
def test_schedule_is_even_when_it_is_looked_at_often(count: int, spread: float, looks: int) -> None:
    """Between two looks at equal distances: the mean, give or take one."""
    plan = schedule(count, spread)
    sizes = [len(plan.poll(100 + spread * look / looks)) for look in range(1, looks + 1)]
    assert max(sizes) <= count / looks + 1
    assert min(sizes) >= count / looks - 1


def test_schedule_has_an_order_of_its_own() -> None:
    """Who came first, or belongs to one app, is not closed first."""
    plan = schedule(1000, 10)
    first = plan.poll(101)
    assert len(first) == 100
    assert 300 < sum(first) / 100 < 700
    assert first != schedule(1000, 10, seed=1).poll(101)


def test_schedule_names_all_at_once_when_there_is_no_spread() -> None:
    """Zero seconds are none."""
    assert len(schedule(10, 0).poll(100)) == 10


def test_longest_stop_is_the_sum_of_the_stages() -> None:
    """Outboxes and lingers have the same seconds: the longer of both counts. Alone, nobody lingers."""
    drain, presence = Drain(delay=3, spread=20, timeout=4), Presence(linger=1, drain_linger=8)
    hooks = WebhookSettings(batch_interval=0.5, timeout=2)
    alone = Settings(drain=drain, presence=presence, webhooks=hooks)
    assert longest_stop(alone) == 3 + 20 + 4 + 1 + 2.5 + 2
    assert longest_stop(replace(alone, nats=CLUSTERED)) == 3 + 20 + 8 + 1 + 2.5 + 2
    long = Presence(linger=30, drain_linger=8)
    assert longest_stop(replace(alone, presence=long, nats=CLUSTERED)) == 3 + 20 + 30 + 30 + 2.5 + 2


def test_longest_stop_is_less_than_kubernetes_grants_by_default() -> None:
    """Thirty seconds, for whoever configures nothing."""
    assert longest_stop(Settings(nats=CLUSTERED)) < 30
