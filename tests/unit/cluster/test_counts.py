"""Counts of subscriptions: what is read, what is told, and what it costs."""

import pytest
import trio
from trio.testing import MockClock

from cluster import BusAwayError
from cluster.envelope import Ask, Change, decode
from tests.unit.cluster.support import APP, SETTINGS, Peer, peers


def _watch_all(*nodes: Peer) -> None:
    for node in nodes:
        node.member.watch(node.member.all_count_shards(APP))


def _sent(node: Peer, kind: type) -> int:
    return sum(isinstance(decode(payload), kind) for _, payload in node.bus.sent)


async def test_a_count_is_the_sum_over_all_nodes_and_every_change_is_told(autojump_clock: MockClock) -> None:
    """Occupied, more, fewer, vacated."""
    async with peers(3) as (one, two, watcher):
        _watch_all(one, watcher)
        await trio.sleep(0.5)
        steps = [(one, 2, 2), (two, 3, 5), (one, 1, 4), (two, 0, 1), (one, 0, 0)]
        for node, here, everywhere in steps:
            node.member.set_count(APP, "room", here)
            await trio.sleep(0.3)
            assert watcher.member.count_of(APP, "room") == everywhere
        told = [("room", 0, 2), ("room", 2, 5), ("room", 5, 4), ("room", 4, 1), ("room", 1, 0)]
        assert watcher.count_changes == one.count_changes == told
        assert two.count_changes == []
        assert list(watcher.member.channels(APP)) == []


async def test_many_changes_of_a_count_are_one_message(autojump_clock: MockClock) -> None:
    """A channel that came and went within a moment costs none at all."""
    async with peers(2) as (node, watcher):
        _watch_all(watcher)
        await trio.sleep(0.5)
        before = _sent(node, Change)
        for count in range(1, 1001):
            node.member.set_count(APP, "room", count)
        node.member.set_count(APP, "short", 1)
        node.member.set_count(APP, "short", 0)
        await trio.sleep(0.3)
        node.member.set_count(APP, "room", 1000)
        await trio.sleep(0.3)
        assert _sent(node, Change) - before == 1
        assert watcher.count_changes == [("room", 0, 1000)]


async def test_a_storm_of_counts_is_written_in_slices(autojump_clock: MockClock) -> None:
    """Each turn leaves time for others; in the end all are there."""
    async with peers(2) as (node, watcher):
        _watch_all(watcher)
        await trio.sleep(0.5)
        for number in range(5_000):
            node.member.set_count(APP, f"room {number}", 1)
        await trio.sleep(1.5 * SETTINGS.tick_interval)
        assert 0 < len(watcher.count_changes) < 5_000
        await trio.sleep(1)
        assert len(list(watcher.member.channels(APP))) == 5_000


async def test_whoever_lists_channels_in_a_storm_writes_nothing(autojump_clock: MockClock) -> None:
    """What is set but not written yet counts in place of what was written; a channel that is vacated is not listed."""
    async with peers(2) as (node, other):
        _watch_all(node)
        for number in range(3):
            node.member.set_count(APP, f"room {number}", 1)
        other.member.set_count(APP, "room 0", 4)
        await trio.sleep(0.5)
        before = _sent(node, Change)
        node.member.set_count(APP, "room 0", 2)
        node.member.set_count(APP, "room 1", 0)
        for number in range(3, 2_000):
            node.member.set_count(APP, f"room {number}", 1)
        counts = dict(node.member.channels(APP))
        assert len(counts) == 1_999
        assert "room 1" not in counts
        assert counts["room 0"] == 6
        assert _sent(node, Change) == before
        await trio.sleep(1)
        assert dict(node.member.channels(APP)) == counts


async def test_whoever_reads_sees_what_was_set_here_before(autojump_clock: MockClock) -> None:
    """Though it is not written yet; also where the shard was not watched when it was."""
    async with peers(2) as (node, _):
        node.member.set_count(APP, "old", 1)
        await trio.sleep(0.5)
        _watch_all(node)
        node.member.set_count(APP, "room", 2)
        assert node.member.count_of(APP, "room") == 2
        node.member.set_count(APP, "room", 3)
        node.member.set_count("other app", "room", 9)
        assert sorted(node.member.channels(APP)) == [("old", 1), ("room", 3)]


async def test_a_look_asks_nobody_again_while_the_shards_linger(autojump_clock: MockClock) -> None:
    """Polling the API is cheap."""
    async with peers(3) as (node, one, two):
        one.member.set_count(APP, "room", 2)
        two.member.set_count(APP, "room", 3)
        await trio.sleep(0.5)
        shards = node.member.all_count_shards(APP)
        await node.member.look(shards)
        assert list(node.member.channels(APP)) == [("room", 5)]
        asked = _sent(node, Ask)
        one.member.set_count(APP, "hall", 1)
        await trio.sleep(SETTINGS.shard_linger - 1)
        with trio.fail_after(0):
            await node.member.look(shards)
        assert sorted(node.member.channels(APP)) == [("hall", 1), ("room", 5)]
        assert _sent(node, Ask) == asked
        await trio.sleep(SETTINGS.shard_linger + 1)
        assert node.member.shards_watched == 0


async def test_a_look_fails_in_time_when_it_cannot_be_complete(autojump_clock: MockClock) -> None:
    """A silent peer, and a bus that is away."""
    async with peers(2) as (node, other):
        other.bus.fall_silent()
        start = trio.current_time()
        with pytest.raises(BusAwayError):
            await node.member.look(node.member.all_count_shards(APP))
        assert trio.current_time() - start < SETTINGS.answer_timeout + 0.1
        await trio.sleep(20)  # its lease has ended
        await node.member.look([node.member.count_shard(APP, "room")])
        node.bus.go_away()
        with pytest.raises(BusAwayError):
            await node.member.look([node.member.count_shard(APP, "room")])


async def test_a_dead_node_s_subscriptions_are_no_more(autojump_clock: MockClock) -> None:
    """One change for each channel: vacated, or fewer."""
    async with peers(3) as (one, two, watcher):
        _watch_all(watcher)
        one.member.set_count(APP, "room", 2)
        one.member.set_count(APP, "hall", 2)
        two.member.set_count(APP, "room", 3)
        await trio.sleep(3)
        watcher.count_changes.clear()
        one.life.cancel()
        await trio.sleep(5)
        assert sorted(watcher.count_changes) == [("hall", 2, 0), ("room", 5, 3)]
