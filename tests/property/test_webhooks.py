"""Holds, counts and queues against models: the net effect is told, in order, and nothing waits for ever."""

import json
from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import given, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from node.webhooks.addresses import is_public
from node.webhooks.counts import Counts
from node.webhooks.events import Event, Fact, Kind, cache_miss
from node.webhooks.holds import Holds
from node.webhooks.queue import Batch, Queue
from node.webhooks.request import encode_body, retry_pause

HOLD = 3.0
INTERVAL, LIMIT = 0.25, 4
FACTS = [Fact(Kind.MEMBER, "1", "presence-a", user) for user in "abc"]
times = st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.9, 3.0, 3.1])


@given(st.lists(st.tuples(times, st.sampled_from(FACTS))))
def test_held_ends_tell_the_net_effect(steps: list[tuple[float, Fact]]) -> None:
    """What is told alternates, ends in the truth, and leaves out what was shorter than the hold."""
    holds, now = Holds(), 0.0
    truth: dict[Fact, list[tuple[float, bool]]] = {fact: [] for fact in FACTS}
    told: dict[Fact, list[tuple[float, bool]]] = {fact: [] for fact in FACTS}

    def poll() -> None:
        for fact, _ in holds.poll(now):
            told[fact].append((now, False))

    for number, (pause, fact) in enumerate(steps):
        for _ in range(round(pause * 10)):
            now = round(now + 0.1, 3)
            poll()
        begins = not (truth[fact] and truth[fact][-1][1])
        truth[fact].append((now, begins))
        if not begins:
            holds.end(fact, round(now + HOLD, 3), number)
        elif holds.begin(fact):
            told[fact].append((now, True))
    now += HOLD + 0.1
    poll()
    assert not len(holds)
    for fact in FACTS:
        assert [begins for _, begins in told[fact]] == [bool(i % 2 == 0) for i in range(len(told[fact]))]
        assert len(told[fact]) == len(_net(truth[fact]))
        assert (told[fact] or [(0.0, False)])[-1][1] == (truth[fact] or [(0.0, False)])[-1][1]


def _net(changes: list[tuple[float, bool]]) -> list[bool]:
    """What is left when every end that lasted less than the hold is taken out, with the beginning after it."""
    left: list[bool] = []
    for index, (at, begins) in enumerate(changes):
        after = changes[index + 1][0] if index + 1 < len(changes) else float("inf")
        before = changes[index - 1][0] if index else float("-inf")
        is_short = after - at < HOLD - 1e-6 if not begins else at - before < HOLD - 1e-6
        if not is_short:
            left.append(begins)
    return left


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.0625, 1.0, 4.0, 5.0]), st.integers(95, 105))))
def test_counts_are_told_seldom_above_100_but_in_the_end(changes: list[tuple[float, int]]) -> None:
    """Each one up to 100; above, none sooner than five seconds after another; the last one in any case."""
    counts, now, told = Counts(), 0.0, list[tuple[float, int]]()
    for pause, count in changes:
        now += pause
        told += [(now, told_count) for _, told_count in counts.poll(now)]
        if counts.change(("1", "a"), count, now):
            told.append((now, count))
        elif count <= 100:
            raise AssertionError(count)
    now += 5.0
    told += [(now, count) for _, count in counts.poll(now)]
    assert not changes or told[-1][1] == changes[-1][1]
    great = [at for at, count in told if count > 100]
    small = [at for at, count in told if count <= 100]
    for one, other in pairwise(great):
        assert other - one >= 5.0 or any(one <= at <= other for at in small)
    assert not counts.poll(now + 5.0)
    assert not counts._pauses or not counts.poll(now + 20.0)


class Waiting(RuleBasedStateMachine):
    """A queue: batches in the order of each channel, one at a time, none late, none above the limit."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.number = 0
        self.max_bytes = 16_384
        self.queue = Queue(self.max_bytes)
        self.waiting: list[tuple[Event, float]] = []
        self.under_way: list[Batch] = []

    @rule(channel=st.sampled_from("abcd"), size=st.sampled_from([0, 0, 0, 5_000]))
    def add(self, channel: str, size: int) -> None:
        """An event comes; the oldest ones go if there is no room."""
        self.number += 1
        event = Event("cache_miss", "1", channel, b"%d" % self.number + b" " * size)
        self.waiting.append((event, self.now))
        dropped = self.queue.add(event, self.now)
        del self.waiting[:dropped]
        room = sum(len(event.encoded) + 300 for event, _ in self.waiting)
        assert room <= self.max_bytes
        assert not dropped or room + 5_400 > self.max_bytes

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.25]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds

    @rule()
    def take(self) -> None:
        """A batch leaves, if there is one."""
        busy = {channel for batch in self.under_way for channel in batch.channels}
        free = [event for event, _ in self.waiting if event.channel not in busy]
        due = self.queue.due(INTERVAL)
        assert (due < float("inf")) == bool(free)
        batch = self.queue.take(LIMIT, INTERVAL, self.now)
        if batch is None:
            assert len(free) < LIMIT
            assert due > self.now
            return
        assert 0 < len(batch.events) <= LIMIT
        assert len(batch.events) == min(LIMIT, len(free))
        assert not batch.channels & busy
        for channel in batch.channels:
            mine = [event for event in batch.events if event.channel == channel]
            assert mine == [event for event in free if event.channel == channel][: len(mine)]
        self.waiting = [(event, at) for event, at in self.waiting if event not in batch.events]
        self.under_way.append(batch)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """One of the batches under way arrives, or is given up."""
        batch = data.draw(st.sampled_from(self.under_way))
        self.under_way.remove(batch)
        self.queue.done(batch, self.now)

    @invariant()
    def all_is_there(self) -> None:
        """What waits is what the model says."""
        assert list(self.queue._events.values()) == [event for event, _ in self.waiting]
        assert self.queue._ready_count == sum(len(self.queue._channels[channel]) for channel in self.queue._ready)


TestWaiting = Waiting.TestCase
TestWaiting.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.text(max_size=5), max_size=5), st.integers(0, 2**53))
def test_body_is_the_events_with_a_time(channels: list[str], time_ms: int) -> None:
    """Whatever they hold."""
    events = [cache_miss("1", channel) for channel in channels]
    body = json.loads(encode_body([event.encoded for event in events], time_ms))
    expected = [{"name": "cache_miss", "channel": channel} for channel in channels]
    assert body == {"time_ms": time_ms, "events": expected}


@given(st.integers(1, 1000), st.floats(0, 1))
def test_pauses_grow_up_to_a_minute_and_differ(failures: int, chance: float) -> None:
    """By half at the most."""
    longest = min(60.0, 2.0 ** (min(failures, 30) - 1))
    assert longest / 2 <= retry_pause(failures, chance) <= longest


@given(st.ip_addresses())
def test_every_address_is_public_or_not(address: object) -> None:
    """Without an error; and what Python calls private is not."""
    if is_public(str(address)):
        assert not getattr(address, "is_private", False) or getattr(address, "ipv4_mapped", None)
        assert not getattr(address, "is_multicast", False)
        assert not getattr(address, "is_loopback", False)
