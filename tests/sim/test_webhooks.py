"""Each webhook event is sent by exactly one node while nothing fails, and at least once when its keepers die.

Things begin and end on simulated nodes, on a virtual clock and a network with delays; what arrives at the backend is
compared with what happened. Things keep each state for longer than the hold, so that each change is to be told.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import groupby
from random import Random

import pytest
import trio
from trio.testing import MockClock

from tests.sim.network import Delays, Network
from tests.sim.webhook_nodes import APP, Cluster

THINGS = (
    *(f"channel c{number}" for number in range(6)),
    *(f"member presence-{number % 2} u{number}" for number in range(6)),
    *(f"user #server-to-user-u{number} u{number}" for number in range(6)),
)
SETTLED = 12.0
"""Seconds after which the nodes that began are old enough to send."""
END = 90.0
LAST = 40.0
"""Seconds in which everything has ended and was told."""


@pytest.fixture
def autojump_clock() -> MockClock:
    """A clock that jumps to the next thing to do."""
    return MockClock(autojump_threshold=0)


@asynccontextmanager
async def run_cluster(
    seed: int, nodes: int = 3, *, flips: bool = True, settled: float = SETTLED, end: float = END
) -> AsyncIterator[Cluster]:
    """A cluster whose things begin and end in the background; at the end of the block nothing is left, and all was told."""
    random = Random(seed)
    network = Network(2, random, Delays(usual=0.005, spike=0.08, spikes=0.02))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.run)
        cluster = Cluster(random, network, nursery)
        for _ in range(nodes):
            cluster.add_node()
        await trio.sleep(settled)
        async with trio.open_nursery() as clients:
            for thing in THINGS if flips else ():
                clients.start_soon(cluster.flip, thing, 8.0, end)
            yield cluster
        await trio.sleep(LAST)
        nursery.cancel_scope.cancel()


def without_repetitions(told: list[bool]) -> list[bool]:
    """What a receiver makes of it that knows how things stand."""
    return [begins for begins, _ in groupby(told)]


def missing(told: list[bool], truth: list[bool]) -> int:
    """How many changes were not told, if the others were told in their order."""
    rest = iter(told)
    return sum(change not in rest for change in truth)


def duplicates(cluster: Cluster) -> int:
    """How many events came more often than they happened."""
    return len(cluster.backend.told) - sum(map(len, cluster.truth.values()))


@pytest.mark.parametrize("seed", range(2))
async def test_event_is_sent_once_when_nothing_fails(seed: int, autojump_clock: MockClock) -> None:
    """By one node of three, which all have something to send."""
    async with run_cluster(seed) as cluster:
        pass
    for thing, truth in cluster.truth.items():
        assert cluster.backend.of(thing) == truth
    assert len({told.node for told in cluster.backend.told}) > 1, "which shards are whose, the drawn names decide"


async def test_miss_is_sent_once_though_every_node_has_it(autojump_clock: MockClock) -> None:
    """Several times in the same seconds, and again when nobody has published since."""
    async with run_cluster(0, nodes=4, flips=False) as cluster:
        for pause in (0.0, 0.1, 2.0, 20.0):
            await trio.sleep(pause)
            for node in cluster.nodes:
                for number in range(5):
                    node.webhooks.cache_miss(APP, f"cache-{number}")
    assert [cluster.backend.of(f"cache cache-{number}") for number in range(5)] == [[False, False]] * 5


@pytest.mark.parametrize("seed", range(4))
async def test_event_is_not_lost_when_a_cluster_begins(seed: int, autojump_clock: MockClock) -> None:
    """Nodes start in the same seconds, and clients come as soon as there is one."""
    async with run_cluster(seed, nodes=1, settled=1.3, end=30.0) as cluster:
        for _ in range(3):
            await trio.sleep(cluster.random.uniform(0, 2))
            cluster.add_node()
    for thing, truth in cluster.truth.items():
        told = cluster.backend.of(thing)
        assert not missing(told, truth), (thing, told)
        assert told[-1] is truth[-1], thing


@pytest.mark.parametrize("seed", range(3))
async def test_event_is_not_lost_when_nodes_come_and_leave(seed: int, autojump_clock: MockClock) -> None:
    """A rolling restart: nothing is lost, and little is told twice: of six hand-overs the last half second each."""
    async with run_cluster(seed) as cluster:
        for number in range(3):
            cluster.add_node()
            await trio.sleep(18)
            await cluster.nodes[number].leave()
    for thing, truth in cluster.truth.items():
        assert without_repetitions(cluster.backend.of(thing)) == truth, thing
    assert duplicates(cluster) <= 12
    tellers = {told.node for told in cluster.backend.told}  # each by the shards that its drawn name gives it, perhaps none
    assert tellers & {"n0", "n1", "n2"}, "who was there first"
    assert tellers & {"n3", "n4", "n5"}, "who alone was there in the end"


@pytest.mark.parametrize("seed", range(4))
async def test_event_is_sent_at_least_once_when_keepers_die(seed: int, autojump_clock: MockClock) -> None:
    """One after another, with time in between for the next second keeper to learn how things stand."""
    async with run_cluster(seed, nodes=4) as cluster:
        for number in range(3):
            await trio.sleep(cluster.random.uniform(12, 20))
            cluster.nodes[number].die()
            cluster.add_node()
    for thing, truth in cluster.truth.items():
        told = cluster.backend.of(thing)
        assert not missing(told, truth), (thing, told)
        assert told[-1] is truth[-1], thing
        if thing.startswith("user"):  # who believes the highest sequence only is right in the end
            last = max((told for told in cluster.backend.told if told.thing == thing), key=lambda told: told.sequence)
            assert last.begins is truth[-1]


@pytest.mark.parametrize("seed", range(3))
async def test_backend_knows_the_truth_in_the_end_when_a_partition_has_healed(seed: int, autojump_clock: MockClock) -> None:
    """Each side has told that what is on the other is gone, and takes that back itself."""
    async with run_cluster(seed, nodes=4, flips=False) as cluster:
        for thing in THINGS:
            cluster.random.choice(cluster.alive).begin(thing)
        await trio.sleep(5)
        one, other = cluster.network.servers
        cluster.network.cut(one, other)
        await trio.sleep(25)
        assert not all(cluster.backend.of(thing)[-1] for thing in THINGS)
        cluster.network.heal(one, other)
        await trio.sleep(8)
        assert all(cluster.backend.of(thing)[-1] for thing in THINGS)
