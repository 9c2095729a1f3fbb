"""Connections that are sent elsewhere by nodes that stay: the old ones, and those beyond a node's share."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from cluster import Load
from node.balance import Balance
from node.config.settings import Rebalance
from node.rebalancing import shed_skew
from tests.unit.support import APP, OTHER_APP, Client, Node, run_nodes, settle

AGED = Rebalance(max_age=1000, jitter=0.2)
SKEWED = Rebalance(skew=1.2, surplus=5, shed_rate=10, settle=30)


def here(connections: int, *, age: float = 100, takes_clients: bool = True) -> Load:
    """What a node carries."""
    return Load(connections, age, takes_clients)


def shed(*peers: Load, node: Load | None = None, rebalance: Rebalance = SKEWED) -> int:
    """How many of its 100 connections a node closes in ten seconds, as long as nothing else changes."""
    balance = Balance(rebalance, 0.0)
    load = node or here(100)
    return sum(balance.poll(load, peers, second / 4) for second in range(40))


def gone(clients: Sequence[Client]) -> list[Client]:
    """Those that were sent elsewhere; nobody was closed otherwise."""
    assert {client.close_code for client in clients} <= {None, 4200}
    return [client for client in clients if client.close_code is not None]


# -- age --------------------------------------------------------------------------------------------------------------


async def test_each_connection_is_sent_elsewhere_at_an_age_of_its_own(autojump_clock: MockClock) -> None:
    """None before 800 seconds, all by 1200, evenly in between; those that talk and those that are silent alike."""
    async with run_nodes(rebalance=AGED) as (node,):
        clients = [Client(node.hub, app) for app in (APP, OTHER_APP) for _ in range(100)]
        await talk(clients, 800)
        assert gone(clients) == []
        await talk(clients, 200)
        assert 70 < len(gone(clients)) < 130
        await talk(clients, 201)
        assert len(gone(clients)) == 200
        assert node.value("shed_connections_total", reason="age") == 200
        assert node.value("closes_total", code="4200") == 200
        await settle(200)
        assert node.leftovers() == {}


async def talk(clients: Sequence[Client], seconds: int) -> None:
    """Let time pass, in which each client says enough to stay."""
    for start in range(0, seconds, 100):
        for client in clients:
            client.say("pusher:ping", {})
        await settle(min(100, seconds - start))


async def test_no_connection_is_too_old_by_default(autojump_clock: MockClock) -> None:
    """Who talks stays."""
    async with run_nodes() as (node,):
        client = Client(node.hub)
        await talk([client], 2000)
        assert client.close_code is None


async def test_nobody_hears_of_a_user_who_comes_back_after_an_age(autojump_clock: MockClock) -> None:
    """The user lingers as if the node had left."""
    async with run_nodes(nodes=2, rebalance=AGED) as (first, second):
        user = Client(first.hub)
        user.sign_in("user")
        await talk([user], 790)
        watcher = Client(second.hub)
        watcher.sign_in("watcher", ["user"])
        while user.close_code is None:
            await talk([user, watcher], 5)
        watcher.read()
        await settle(5)
        Client(second.hub).sign_in("user")
        await settle(20)
        assert watcher.read() == []


async def test_old_connections_stay_while_the_bus_is_away(autojump_clock: MockClock) -> None:
    """Elsewhere they could not sign in; they go soon after it is back."""
    async with run_nodes(rebalance=AGED) as (node,):
        clients = [Client(node.hub) for _ in range(20)]
        node.lose_bus()
        await talk(clients, 1500)
        assert gone(clients) == []
        node.find_bus()
        await talk(clients, 130)
        assert len(gone(clients)) == 20


# -- skew -------------------------------------------------------------------------------------------------------------


def test_node_sheds_when_it_is_over_the_bound() -> None:
    """Which is a part of the mean, and some connections at least; one that is off never does."""
    assert shed(here(20)) > 0
    assert shed(here(70)) == 0
    assert shed(here(20), rebalance=Rebalance(skew=1.2, surplus=40, settle=30)) == 0
    assert shed(here(20), rebalance=Rebalance()) == 0
    assert shed(here(20), rebalance=Rebalance(skew=1.0, surplus=1)) == 0
    assert shed() == 0


@pytest.mark.parametrize(
    "peers",
    [
        pytest.param([here(100), here(0, age=29)], id="one that just joined counts later"),
        pytest.param([here(0), here(0, age=1, takes_clients=False)], id="one that starts"),
        pytest.param([here(0), here(50, takes_clients=False)], id="one that leaves"),
    ],
)
def test_node_sheds_nothing_for_peers_that_come_or_go(peers: list[Load]) -> None:
    """The mean would be wrong, or connections are on the move by themselves."""
    assert shed(*peers) == 0


@pytest.mark.parametrize("node", [here(100, age=29), here(100, takes_clients=False)])
def test_node_sheds_nothing_when_it_comes_or_goes_itself(node: Load) -> None:
    """It is filling, or sends away everybody soon."""
    assert shed(here(0), here(0), node=node) == 0


def test_node_sheds_until_half_of_the_bound_and_begins_again_beyond_it() -> None:
    """So a few connections more or less change nothing."""
    balance = Balance(Rebalance(skew=1.2, surplus=5, shed_rate=1000, settle=0), 0.0)
    counts, now = [300, 200, 100], 0.0
    while now < 60:
        closes = balance.poll(here(counts[0]), [here(counts[1]), here(counts[2])], now)
        counts[0], counts[2], now = counts[0] - closes, counts[2] + closes, now + 0.25
    assert counts[0] in (219, 220)  # half of 40 above 200
    assert not any(balance.poll(here(239), [here(200), here(161)], now + wait) for wait in range(20))
    assert any(balance.poll(here(242), [here(200), here(158)], now + 20 + wait) for wait in range(20))


@asynccontextmanager
async def shedding(count: int) -> AsyncIterator[list[Node]]:
    """Nodes that shed, and are old enough to count."""
    async with run_nodes(nodes=count) as nodes, trio.open_nursery() as nursery:
        for node in nodes:
            node.hub.listener.takes_clients = True
            nursery.start_soon(shed_skew, node.hub, node.member, SKEWED)
        yield nodes
        nursery.cancel_scope.cancel()


async def test_nodes_fill_a_third_one_with_their_oldest_connections(autojump_clock: MockClock) -> None:
    """At the rate that is allowed, once it is old enough; clients land anywhere, and few are closed twice."""
    chance = random.Random(1)
    async with shedding(3) as nodes:
        first, second, _ = nodes
        clients = {number: Client(node.hub) for number, node in enumerate([first, second] * 150)}
        closes = dict.fromkeys(clients, 0)
        await trio.sleep(29 - trio.current_time())
        assert gone(list(clients.values())) == []
        for second_passed in range(1, 60):
            await trio.sleep(1)
            for number, client in clients.items():
                if client.close_code is not None:
                    closes[number] += 1
                    clients[number] = Client(chance.choice(nodes).hub)
            assert sum(closes.values()) <= 20 * (second_passed + 1)
        counts = [node.hub.listener.connections for node in nodes]
        assert sum(counts) == 300
        assert 75 < min(counts) < max(counts) <= 120
        assert max(closes.values()) <= 2
        assert sum(node.value("shed_connections_total", reason="skew") for node in nodes) == sum(closes.values())
        await settle(60)
        assert gone(list(clients.values())) == []


async def test_node_sheds_nothing_while_its_bus_is_away(autojump_clock: MockClock) -> None:
    """What it knows of the others is old."""
    async with shedding(2) as (first, _):
        clients = [Client(first.hub) for _ in range(100)]
        await settle(20)
        first.lose_bus()
        await settle(40)
        assert gone(clients) == []
        first.find_bus()
        await settle(10)
        assert gone(clients)
        assert gone(clients) == clients[: len(gone(clients))]


async def test_nothing_is_shed_while_a_peer_leaves(autojump_clock: MockClock) -> None:
    """Its heartbeats say so before its port is closed."""
    async with shedding(3) as (first, second, _):
        second.hub.listener.takes_clients = False
        clients = [Client(first.hub) for _ in range(100)]
        await settle(60)
        assert gone(clients) == []
        second.hub.listener.takes_clients = True
        await settle(10)
        assert gone(clients)
