"""Shedding converges and stops, from any distribution, though closed clients land on any node and news is late."""

import random
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster import Load
from node.balance import Balance, draw_limit
from node.config.settings import Rebalance

LOOK = 0.25
LOOKS_PER_BEAT = 4
OLD = 1000.0
SLOWEST = 5.0
QUIET = 20 * LOOKS_PER_BEAT
"""Looks without a close after which nobody sheds any more."""

rebalances = st.builds(
    Rebalance,
    skew=st.floats(1.05, 2),
    surplus=st.integers(1, 100),
    shed_rate=st.floats(SLOWEST, 500),
)
counts = st.lists(st.integers(0, 1000), min_size=2, max_size=8)


@dataclass
class Simulation:
    """Nodes that know each other's numbers as of the last beat. `sticky`: clients come back to where they were."""

    rebalance: Rebalance
    counts: list[int]
    random: random.Random
    sticky: bool = False

    def __post_init__(self) -> None:
        self.balances = [Balance(self.rebalance, 0.0) for _ in self.counts]
        self.known = list(self.counts)
        self.closes = [0] * len(self.counts)
        self.now = 0.0

    def look(self) -> int:
        """Every node looks once; how many were closed. Clients are back before the next look."""
        if round(self.now / LOOK) % LOOKS_PER_BEAT == 0:
            self.known = list(self.counts)
        self.now += LOOK
        before = sum(self.closes)
        for node, balance in enumerate(self.balances):
            peers = [Load(count, OLD) for other, count in enumerate(self.known) if other != node]
            closes = balance.poll(Load(self.counts[node], OLD), peers, self.now)
            assert 0 <= closes <= self.counts[node]
            self.closes[node] += closes
            self.counts[node] -= closes
            for _ in range(closes):
                self.counts[node if self.sticky else self.random.randrange(len(self.counts))] += 1
        return sum(self.closes) - before

    def fill(self, arrivals: int) -> None:
        """So many clients come to each node."""
        self.counts = [count + arrivals for count in self.counts]

    def run(self, seconds: float) -> None:
        """Look until nothing was shed for a while; that takes no longer than these seconds."""
        end, quiet = self.now + seconds, 0
        while quiet < QUIET:
            quiet = 0 if self.look() else quiet + 1
            assert self.now < end

    def bound(self) -> float:
        """How many above the mean are too many."""
        return max((self.rebalance.skew - 1) * self.mean, self.rebalance.surplus)

    @property
    def mean(self) -> float:
        """Connections a node."""
        return sum(self.counts) / len(self.counts)


@settings(deadline=None)
@given(rebalances, counts, st.randoms(use_true_random=False))
def test_cluster_ends_within_the_bound_and_stays_there(
    rebalance: Rebalance, counts: list[int], chance: random.Random
) -> None:
    """In the time that it takes to shed all connections a few times, and nobody sheds ever after."""
    cluster = Simulation(rebalance, counts, chance)
    total = sum(counts)
    cluster.run(60 + len(counts) * total / SLOWEST)
    assert max(cluster.counts) - cluster.mean <= cluster.bound()
    assert sum(cluster.counts) == total
    closes = sum(cluster.closes)
    for _ in range(QUIET):
        cluster.look()
    assert sum(cluster.closes) == closes


@settings(deadline=None)
@given(rebalances, counts, st.randoms(use_true_random=False))
def test_nobody_sheds_when_nobody_has_too_many(rebalance: Rebalance, counts: list[int], chance: random.Random) -> None:
    """Uneven as it may be, below the bound it is left alone."""
    cluster = Simulation(rebalance, counts, chance)
    if max(counts) - cluster.mean <= cluster.bound():
        assert [cluster.look() for _ in range(40)] == [0] * 40


@settings(deadline=None)
@given(st.floats(1.2, 2), st.integers(1, 100), st.integers(2, 8), st.integers(1, 500), st.randoms(use_true_random=False))
def test_nobody_sheds_when_all_nodes_fill_at_once(
    skew: float, surplus: int, nodes: int, arrivals: int, chance: random.Random
) -> None:
    """Though each knows of its own clients sooner than of those of the others."""
    cluster = Simulation(Rebalance(skew=skew, surplus=surplus), [0] * nodes, chance)
    for _ in range(30 * LOOKS_PER_BEAT):
        cluster.fill(arrivals)
        assert cluster.look() == 0


@settings(deadline=None)
@given(rebalances, counts, st.randoms(use_true_random=False))
def test_node_never_sheds_faster_than_it_may(rebalance: Rebalance, counts: list[int], chance: random.Random) -> None:
    """Not in one look, and not in many."""
    cluster = Simulation(rebalance, counts, chance)
    for look in range(15 * LOOKS_PER_BEAT):
        before = list(cluster.closes)
        cluster.look()
        for was, closes in zip(before, cluster.closes, strict=True):
            assert closes - was <= rebalance.shed_rate * LOOK + 1
            assert closes <= rebalance.shed_rate * LOOK * (look + 1)


@settings(deadline=None, max_examples=30)
@given(counts, st.randoms(use_true_random=False))
def test_clients_that_always_come_back_are_left_alone_in_the_end(counts: list[int], chance: random.Random) -> None:
    """A balancer that remembers clients cannot be helped: a round in vain, then a rest of ten minutes."""
    cluster = Simulation(Rebalance(skew=1.2, shed_rate=1000, surplus=20), counts, chance, sticky=True)
    before = list(counts)
    for _ in range(round(500 / LOOK)):
        cluster.look()
    assert cluster.counts == before
    for count, closes in zip(counts, cluster.closes, strict=True):
        assert closes <= 4 * len(counts) * max(0, count - cluster.mean) + 1


@settings(deadline=None)
@given(st.floats(1, 1e6), st.floats(0, 0.9), st.floats(0, 1))
def test_limits_of_age_lie_around_the_maximum(max_age: float, jitter: float, chance: float) -> None:
    """Each within the jitter; without a maximum there is none."""
    limit = draw_limit(Rebalance(max_age=max_age, jitter=jitter), 100.0, chance)
    assert limit is not None
    assert max_age * (1 - jitter) - 1e-6 <= limit - 100.0 <= max_age * (1 + jitter) + 1e-6
    assert draw_limit(Rebalance(jitter=jitter), 100.0, chance) is None
