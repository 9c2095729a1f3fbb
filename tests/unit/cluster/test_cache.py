"""The cache: who keeps what, who knows it, and what survives whom."""

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from cluster import ChannelEvent
from cluster.envelope import Keep, Recall, decode
from tests.unit.cluster.support import APP, SETTINGS, Peer, peers
from tests.waiting import carried

_NEWS = "cache-news"


async def _publish(node: Peer, frame: bytes, channel: str = _NEWS, ttl: float = 60.0) -> None:
    assert await carried(lambda done: node.member.send_events([ChannelEvent(APP, channel, frame, ttl=ttl)], done))


async def _recalled(node: Peer, channel: str = _NEWS) -> tuple[bytes | None, float]:
    answers: list[tuple[bytes | None, float]] = []
    done = trio.Event()

    def answer(frame: bytes | None, left: float) -> None:
        answers.append((frame, left))
        done.set()

    node.member.recall(APP, channel, answer)
    with trio.fail_after(SETTINGS.answer_timeout + 0.2):
        await done.wait()
    return answers[0]


def _recalled_now(node: Peer) -> bytes | None:
    answers: list[bytes | None] = []
    node.member.recall(APP, _NEWS, lambda frame, _left: answers.append(frame))
    assert len(answers) == 1, "a message was needed"
    return answers[0]


def _keepers(cluster: list[Peer], channel: str = _NEWS) -> list[Peer]:
    names = cluster[0].member.keepers(APP, channel)
    assert all(peer.member.keepers(APP, channel) == names for peer in cluster)
    return [next(peer for peer in cluster if peer.member.node_id == name) for name in names]


def _others(cluster: list[Peer], *nodes: Peer) -> list[Peer]:
    return [peer for peer in cluster if peer not in nodes]


def _sent(node: Peer, kind: type) -> int:
    return sum(isinstance(decode(payload), kind) for _, payload in node.bus.sent)


async def test_the_last_event_is_known_to_every_node_that_asks(autojump_clock: MockClock) -> None:
    """Though nobody subscribed when it was published; with the time that is left to it."""
    async with peers(4) as cluster:
        assert await _recalled(cluster[0]) == (None, 0.0)
        await _publish(cluster[1], b"one")
        await _publish(cluster[2], b"two")
        await trio.sleep(10)
        for node in cluster:
            frame, left = await _recalled(node)
            assert frame == b"two"
            assert left == pytest.approx(50.0, abs=0.1)
        await trio.sleep(51)
        assert [await _recalled(node) for node in cluster] == [(None, 0.0)] * 4


async def test_two_nodes_are_told_of_an_event_and_no_others(autojump_clock: MockClock) -> None:
    """One message each; an event that is not kept costs none."""
    async with peers(5) as cluster:
        node = _others(cluster, *_keepers(cluster))[0]
        await _publish(node, b"one")
        assert _sent(node, Keep) == 2
        await _publish(node, b"two", ttl=0.0)
        assert _sent(node, Keep) == 2
        having = [peer for peer in cluster if len(peer.member._cache._events)]
        assert having == [peer for peer in cluster if peer in _keepers(cluster)]


async def test_a_node_that_holds_the_channel_asks_once_and_hears_the_rest(autojump_clock: MockClock) -> None:
    """A thousand subscribers at once cost two questions, later ones none."""
    async with peers(5) as cluster:
        node, publisher, *_ = _others(cluster, *_keepers(cluster))
        await _publish(publisher, b"one")
        node.subscribe(_NEWS)
        await trio.sleep(0.5)
        frames: list[bytes | None] = []
        for _ in range(1000):
            node.member.recall(APP, _NEWS, lambda frame, _left: frames.append(frame))
        await trio.sleep(0.1)
        assert frames == [b"one"] * 1000
        assert _sent(node, Recall) == 2
        await _publish(publisher, b"two")
        assert _recalled_now(node) == b"two"
        await _publish(node, b"three")
        assert _recalled_now(node) == b"three"
        assert _sent(node, Recall) == 2


async def test_a_node_that_was_away_asks_again(autojump_clock: MockClock) -> None:
    """It may have missed the last event."""
    async with peers(5) as cluster:
        node, publisher, *_ = _others(cluster, *_keepers(cluster))
        node.subscribe(_NEWS)
        await trio.sleep(0.5)
        await _publish(publisher, b"one")
        assert await _recalled(node) == (b"one", 60.0)
        node.bus.go_away()
        assert _recalled_now(node) == b"one"  # the best that it knows
        await _publish(publisher, b"two")
        node.bus.come_back()
        assert (await _recalled(node))[0] == b"two"
        await trio.sleep(0.5)
        assert (await _recalled(node))[0] == b"two"
        assert _recalled_now(node) == b"two"


async def test_an_event_survives_the_death_of_either_keeper(autojump_clock: MockClock) -> None:
    """Before the others know of it, and after; one after the other all keepers may die."""
    async with peers(5) as cluster:
        publisher = _others(cluster, *_keepers(cluster))[0]
        await _publish(publisher, b"one")
        alive = cluster
        for _ in range(3):
            await trio.sleep(5)
            dead = _keepers(alive)[0]
            dead.life.cancel()
            alive = _others(alive, dead)
            for node in alive:
                assert (await _recalled(node))[0] == b"one"
        await trio.sleep(5)
        assert [len(node.member._cache._events) for node in alive] == [1, 1]


async def test_a_newcomer_that_becomes_a_keeper_is_given_what_it_keeps(autojump_clock: MockClock) -> None:
    """By one of those who were; in slices, which are all taken."""
    many = replace(SETTINGS, shards=256)  # among four, the newcomer might be a keeper of none, or of all
    async with peers(3, many) as cluster, trio.open_nursery() as nursery:
        for number in range(300):
            await _publish(cluster[0], b"%d" % number, f"cache-{number}")
        newcomer = Peer(cluster[0].bus._broker, "server 9", many)
        nursery.start_soon(newcomer.run)
        await trio.sleep(4)
        for number in range(300):
            names = cluster[0].member.keepers(APP, f"cache-{number}")
            for peer in (*cluster, newcomer):
                if peer.member.node_id in names:
                    assert peer.member._cache._events.get((APP, f"cache-{number}"), trio.current_time())
        assert 0 < len(newcomer.member._cache._events) < 300
        nursery.cancel_scope.cancel()


async def test_a_node_that_says_goodbye_brings_away_what_it_keeps(autojump_clock: MockClock) -> None:
    """Both keepers may leave at the same time."""
    async with peers(4) as cluster:
        keepers = _keepers(cluster)
        rest = _others(cluster, *keepers)
        await _publish(keepers[0], b"one")
        async with trio.open_nursery() as nursery:
            for keeper in keepers:
                nursery.start_soon(keeper.member.say_goodbye)
        for keeper in keepers:
            keeper.life.cancel()
        await trio.sleep(1)
        assert [(await _recalled(node))[0] for node in rest] == [b"one"] * 2


async def test_a_silent_keeper_does_not_hold_an_answer_up_for_long(autojump_clock: MockClock) -> None:
    """The other one has it."""
    async with peers(4) as cluster:
        first, second = _keepers(cluster)
        node = _others(cluster, first, second)[0]
        await _publish(first, b"one")
        first.bus.fall_silent()
        start = trio.current_time()
        assert (await _recalled(node))[0] == b"one"
        assert trio.current_time() - start < SETTINGS.answer_timeout / 4 + 0.2


async def test_a_node_asks_again_when_a_keeper_was_silent(autojump_clock: MockClock) -> None:
    """The one that answered may have become a keeper a moment ago, and have been given nothing yet."""
    async with peers(4) as cluster:
        first, second = _keepers(cluster)
        node = _others(cluster, first, second)[0]
        await _publish(first, b"one")
        node.subscribe(_NEWS)
        await trio.sleep(0.5)
        second.member._cache._events.forget((APP, _NEWS))
        heard, first.bus.drops = first.bus.drops, lambda _subject, _payload: True
        assert await _recalled(node) == (None, 0.0)
        first.bus.drops = heard
        assert (await _recalled(node))[0] == b"one"
        assert _recalled_now(node) == b"one"


async def test_an_event_that_the_bus_did_not_take_is_not_remembered(autojump_clock: MockClock) -> None:
    """Whoever published it was told so."""
    async with peers(2) as (node, _):
        node.bus.go_away()
        assert not await carried(lambda done: node.member.send_events([ChannelEvent(APP, _NEWS, b"one", ttl=9.0)], done))
        assert _recalled_now(node) is None


async def test_the_later_of_two_events_wins_whatever_the_clocks_say(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node whose clock is behind stamps later than what it has heard."""
    async with peers(2) as (ahead, behind):
        monkeypatch.setattr("cluster.cache.time.time_ns", lambda: 2_000_000)
        await _publish(ahead, b"one")
        monkeypatch.setattr("cluster.cache.time.time_ns", lambda: 1_000_000)
        await _publish(behind, b"two")
        await _publish(behind, b"three")
        assert [(await _recalled(node))[0] for node in (ahead, behind)] == [b"three"] * 2


async def test_whoever_has_an_event_brings_it_when_both_keepers_are_gone(autojump_clock: MockClock) -> None:
    """A node with a subscriber does."""
    async with peers(5) as cluster:
        keepers = _keepers(cluster)
        holder, *rest = _others(cluster, *keepers)
        holder.subscribe(_NEWS)
        await trio.sleep(3)
        await _publish(rest[0], b"one")
        for keeper in keepers:
            keeper.life.cancel()
        await trio.sleep(5)
        assert [(await _recalled(node))[0] for node in (holder, *rest)] == [b"one"] * 3


async def test_a_node_forgets_what_it_has_no_reason_to_keep(autojump_clock: MockClock) -> None:
    """What is not renewed here any more would be taken for the last event one day."""
    async with peers(5) as cluster, trio.open_nursery() as nursery:
        holder, publisher, *_ = _others(cluster, *_keepers(cluster))
        holder.subscribe(_NEWS)
        await trio.sleep(0.5)
        await _publish(publisher, b"one")
        assert (await _recalled(publisher))[0] == b"one"
        assert len(holder.member._cache._events) == 1
        holder.member.release_channel(APP, _NEWS)
        newcomers = [Peer(cluster[0].bus._broker, f"server {number}") for number in range(5, 12)]
        for newcomer in newcomers:
            nursery.start_soon(newcomer.run)
        await trio.sleep(4)
        everybody = [*cluster, *newcomers]
        assert [peer for peer in everybody if len(peer.member._cache._events)] == [
            peer for peer in everybody if peer in _keepers(everybody)
        ]
        nursery.cancel_scope.cancel()
