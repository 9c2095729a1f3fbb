"""What the cluster costs: who is sent what, and how many messages and interests a storm of sign-ins takes."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
from trio.testing import MockClock

from cluster import ChannelEvent, ClusterSettings, Member, UserEdge, UserEvent
from tests.sim.bus import SimBus
from tests.sim.network import Delays, Network
from tests.sim.nodes import Counts, NoChannels
from tests.waiting import carried

_APP = "app"
_SETTINGS = ClusterSettings(presence_linger=0.1)
_CALM = 11.0  # seconds after a change of keepers until events are not forwarded any more


class _Node(NoChannels):
    """A member whose listener counts, and does no more."""

    def __init__(self, network: Network, number: int) -> None:
        self.bus = SimBus(network, network.servers[number % len(network.servers)])
        self.counts = Counts()
        self.member = Member(self.bus, _SETTINGS, self, self.counts)
        self.heard: Counter[str] = Counter()
        self.edges = 0
        self.confirmed = 0
        self._here: Counter[str] = Counter()

    async def sign_in(self, user: str, watchlist: Iterable[str] = ()) -> None:
        """Sign a connection in, and wait until it is."""
        assert await carried(lambda done: self._claim(user, self.member.shards_of(_APP, watchlist), done))
        self._announce(user)

    async def subscribe(self, channel: str) -> None:
        """Subscribe, and wait until it is confirmed."""
        self.member.hold_channel(_APP, channel)
        assert await carried(lambda done: self.member.confirm_channel(_APP, channel, (), done))

    def receive_channel_event(self, event: ChannelEvent) -> bool:
        """See `Listener`."""
        del event
        return True

    def sign_in_soon(self, user: str, watchlist: Iterable[str]) -> None:
        """Begin to sign a connection in."""
        self._claim(user, self.member.shards_of(_APP, watchlist), lambda _confirmed: self._announce(user))

    def _claim(self, user: str, shards: Collection[str], done: Callable[[bool], None]) -> None:
        self.member.hold(_APP, user)
        self.member.watch(shards)
        self.member.confirm(_APP, user, shards, done)

    def _announce(self, user: str) -> None:
        self.confirmed += 1
        self._here[user] += 1
        self.member.announce(_APP, user)

    def receive_event(self, app: str, user: str, frame: bytes, except_socket_id: str | None) -> bool:
        """See `Listener`."""
        del app, user, frame, except_socket_id
        return True

    def terminate(self, app: str, user: str) -> int:
        """See `Listener`."""
        closed = self._here.pop(user, 0)
        for _ in range(closed):
            self.member.release(app, user)
        return closed

    def count(self, app: str, user: str) -> int:
        """See `Listener`."""
        del app
        return self._here[user]

    def user_edges(self, edges: Sequence[UserEdge]) -> None:
        """See `Listener`."""
        self.edges += len(edges)


class _Cluster:
    """Healthy nodes on three servers that know each other."""

    def __init__(self, network: Network, size: int) -> None:
        self.network = network
        self.nodes = [_Node(network, number) for number in range(size)]
        self._by_bus = {node.bus: node for node in self.nodes}
        network.delivered = self._on_delivered

    def _on_delivered(self, bus: SimBus, subject: str) -> None:
        kind = subject.split(".")[2]
        if kind != "nodes":  # heartbeats go to everybody, and are not caused by users
            self._by_bus[bus].heard[kind] += 1

    async def deliveries(self) -> list[Counter[str]]:
        """What each node was sent since the last call, once everything on its way has arrived."""
        await trio.sleep(1)
        heard = [node.heard for node in self.nodes]
        for node in self.nodes:
            node.heard = Counter()
        return heard


@asynccontextmanager
async def _cluster(size: int) -> AsyncIterator[_Cluster]:
    network = Network(3, Random(size), Delays(usual=0.002))
    cluster = _Cluster(network, size)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.run)
        for node in cluster.nodes:
            nursery.start_soon(node.member.run)
        await trio.sleep(3)
        await cluster.deliveries()
        yield cluster
        nursery.cancel_scope.cancel()


_SIZES = (2, 3, 5, 10, 20)


@pytest.mark.parametrize("size", _SIZES)
async def test_an_event_reaches_the_holders_and_nobody_else(size: int, autojump_clock: MockClock) -> None:
    """One delivery for each of the K holders, however many nodes there are."""
    async with _cluster(size) as cluster:
        holders, sender = cluster.nodes[1:4], cluster.nodes[0]
        for node in holders:
            await node.sign_in("ann")
        await cluster.deliveries()
        assert await carried(lambda done: sender.member.send_events([UserEvent(_APP, "ann", b"frame")], done))
        heard = await cluster.deliveries()
    assert heard == [Counter(user=1) if node in holders else Counter() for node in cluster.nodes]


@pytest.mark.parametrize("size", _SIZES)
async def test_a_question_reaches_the_holders_and_their_answers_the_asker(size: int, autojump_clock: MockClock) -> None:
    """K deliveries there, K back; the same for users whom nobody holds, with K = 0 and "no responders"."""
    async with _cluster(size) as cluster:
        holders, asker = cluster.nodes[1:4], cluster.nodes[0]
        for node in holders:
            await node.sign_in("ann")
        await cluster.deliveries()
        assert await asker.member.count(_APP, "ann") == len(holders)
        heard = await cluster.deliveries()
        assert heard[0] == Counter(node=len(holders))
        assert heard[1:] == [Counter(user=1) if node in holders else Counter() for node in cluster.nodes[1:]]
        assert await asker.member.count(_APP, "bob") == 0
        assert await cluster.deliveries() == [Counter(node=1), *(Counter[str]() for _ in cluster.nodes[1:])]


@pytest.mark.parametrize("size", _SIZES)
async def test_a_termination_reaches_the_holders_and_nobody_else(size: int, autojump_clock: MockClock) -> None:
    """One delivery for each of the K holders, besides what they tell each other when they let go."""
    async with _cluster(size) as cluster:
        holders, asker = cluster.nodes[1:4], cluster.nodes[0]
        for node in holders:
            await node.sign_in("ann")
        await cluster.deliveries()
        assert await asker.member.terminate(_APP, "ann") == len(holders)
        heard = await cluster.deliveries()
    assert heard[0] == Counter(node=len(holders))
    for node, counts in zip(cluster.nodes[1:], heard[1:], strict=True):
        assert set(counts) == ({"user"} if node in holders else set())
        assert counts["user"] <= len(holders)


@pytest.mark.parametrize("size", _SIZES)
async def test_a_change_reaches_the_nodes_that_watch_the_shard_and_nobody_else(size: int, autojump_clock: MockClock) -> None:
    """A user who comes and goes: two deliveries for each watching node; a second connection of the user: none."""
    async with _cluster(size) as cluster:
        watching = cluster.nodes[1::2]
        for number, node in enumerate(watching):
            await node.sign_in(f"watcher {number}", ["ann"])
        await cluster.deliveries()
        source = cluster.nodes[0]
        await source.sign_in("ann")
        up = await cluster.deliveries()
        await source.sign_in("ann")
        second = await cluster.deliveries()
        source.terminate(_APP, "ann")
        down = await cluster.deliveries()
    one_each = [Counter(presence=1) if node in watching else Counter[str]() for node in cluster.nodes]
    assert [Counter(presence=counts["presence"]) if counts["presence"] else Counter() for counts in up] == one_each
    assert sum(counts.total() for counts in second) == 0
    assert down == one_each
    for counts in up:  # the fence: a ping to one peer on each other server, and its answer
        assert counts["user"] == 0
        assert counts["node"] <= 2
    assert [node.edges for node in cluster.nodes] == [2 if node in watching else 0 for node in cluster.nodes]


@pytest.mark.parametrize("size", _SIZES)
async def test_a_channel_event_reaches_the_nodes_with_subscribers_and_nobody_else(
    size: int, autojump_clock: MockClock
) -> None:
    """One delivery for each of the K; one that is kept reaches the two keepers besides."""
    async with _cluster(size) as cluster:
        holders, sender = cluster.nodes[1:4], cluster.nodes[0]
        for node in holders:
            await node.subscribe("cache-room")
        await trio.sleep(_CALM)
        await cluster.deliveries()
        for ttl in (0.0, 60.0):
            event = ChannelEvent(_APP, "cache-room", b"frame", ttl=ttl)
            assert await carried(lambda done, event=event: sender.member.send_events([event], done))  # type: ignore[misc]
            heard = await cluster.deliveries()
            keepers = sender.member.keepers(_APP, "cache-room") if ttl else ()
            expected = [Counter(channel=1) if node in holders else Counter[str]() for node in cluster.nodes]
            for node, counts in zip(cluster.nodes[1:], expected[1:], strict=True):
                counts.update(["node"] if node.member.node_id in keepers else [])
            assert heard == expected


async def test_many_subscriptions_cost_one_small_message_each_at_the_most(autojump_clock: MockClock) -> None:
    """5,000 private channels of one subscriber each, and one public channel with 5,000; one node is told of the counts."""
    async with _cluster(5) as cluster:
        watcher, node = cluster.nodes[:2]
        watcher.member.watch(watcher.member.all_count_shards(_APP))
        await cluster.deliveries()
        before = Counter(node.counts.messages)
        for number in range(5_000):
            node.member.set_count(_APP, f"private-user-{number}", 1)
            node.member.set_count(_APP, "news", number + 1)
            if number % 25 == 0:
                await trio.sleep(0.01)
        heard = await cluster.deliveries()
        sent = Counter(node.counts.messages) - before
        assert watcher.member.count_of(_APP, "news") == 5_000
        assert sum(1 for _ in watcher.member.channels(_APP)) == 5_001
    changes = sent["out", "change"]
    print(f"5,000 subscriptions twice: {changes} changes, {changes / 5_000:.3f} a subscriber")
    assert 5_000 < changes < 5_050
    assert [counts["counts"] for counts in heard] == [changes, 0, 0, 0, 0]


async def test_a_storm_of_sign_ins_costs_a_few_messages_and_one_interest_each(autojump_clock: MockClock) -> None:
    """5,000 users on 5 nodes within two seconds, each of whom watches 100 others."""
    users, per_tick = 5_000, 25
    random = Random(1)
    async with _cluster(5) as cluster:
        before = sum((node.counts.messages for node in cluster.nodes), Counter[tuple[str, str]]())
        fences = sum(node.counts.fences for node in cluster.nodes)
        for number in range(users):
            watchlist = [f"user {random.randrange(users)}" for _ in range(100)]
            cluster.nodes[number % 5].sign_in_soon(f"user {number}", watchlist)
            if number % per_tick == 0:
                await trio.sleep(0.01)
        await trio.sleep(1)
        after = sum((node.counts.messages for node in cluster.nodes), Counter[tuple[str, str]]())
        sent = {kind: count for (way, kind), count in (after - before).items() if way == "out" and kind != "heartbeat"}
        fences = sum(node.counts.fences for node in cluster.nodes) - fences
        known = sum(len(server.patterns(node.bus)) for node in cluster.nodes for server in cluster.network.servers)
        print(
            f"{users} sign-ins: {sent}, {sum(sent.values()) / users:.1f} messages each, {fences} fences, {known} interests"
        )
        assert sum(node.confirmed for node in cluster.nodes) == users
        assert not any(node.counts.repairs or node.counts.timed_out for node in cluster.nodes)
        for node in cluster.nodes:
            assert node.member.shards_watched <= _SETTINGS.shards
            assert node.member.interests <= users // 5 + _SETTINGS.shards + 3
        assert known == sum(node.member.interests for node in cluster.nodes)
    assert sent["change"] == sent["holding"] == users
    assert sent["snapshot"] == 5 * 4 * _SETTINGS.shards  # each node asks each other one for each shard, once
    assert sent["ask"] <= sent["snapshot"]
    assert sent["ping"] == sent["pong"] <= 2 * fences  # to one peer on each other server
    assert fences <= users / 2  # one serves all who wait
    assert sum(sent.values()) <= 6 * users
