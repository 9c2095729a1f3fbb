"""A node that joins is filled by the others, with nobody watching hearing of it."""

import random
from functools import partial

import trio

from tests.client import Client, connect
from tests.integration.support import APP, all_of, eventually, names, ready, total
from tests.processes import Node, Processes

USERS = names("user", 300)
WATCHED_EACH = 100
SKEW = 1.2
ENV = {
    "USHER_REBALANCE__SKEW": str(SKEW),
    "USHER_REBALANCE__SURPLUS": "10",
    "USHER_REBALANCE__SHED_RATE": "50",
    "USHER_REBALANCE__SETTLE": "2",
    "USHER_PRESENCE__DRAIN_LINGER": "4",
}


async def test_node_that_joins_is_filled_to_within_the_bound_and_nobody_hears_an_offline(processes: Processes) -> None:
    """Clients come back to any node; each is closed a few times at most, and then no more."""
    nats = processes.start_nats()
    nodes = processes.start_nodes(2, nats, env=ENV)
    third = Node("node-3", processes.directory, processes.apps_path, [nats.url], processes.env | ENV)
    chance = random.Random(1)
    async with trio.open_nursery() as nursery:
        clients = [await come(nursery, [nodes[number % 2], *chance.choices([*nodes, third], k=50)]) for number in range(300)]
        await all_of(*(partial(client.sign_in, user) for client, user in zip(clients, USERS, strict=True)))
        watchers = [await come(nursery, [nodes[0], *chance.choices([*nodes, third], k=50)]) for _ in range(3)]
        for number, watcher in enumerate(watchers):
            await watcher.sign_in(f"watcher{number}", USERS[number * WATCHED_EACH : (number + 1) * WATCHED_EACH])
        everybody = [*clients, *watchers]
        processes.start(third)
        await ready(third)
        nodes.append(third)
        await eventually(partial(are_even, nodes, len(everybody)), "the new node has its share", 60)
        await quiet_for(6, everybody)  # nobody is closed any more, and an offline would have been told
        assert are_even(nodes, len(everybody))
        assert [change for watcher in watchers for change in watcher.changes if not change.online] == []
        assert {end.code for client in everybody for end in client.ended} == {4200}
        assert max(len(client.ended) for client in everybody) <= 3
        assert all(client.signed_in for client in everybody)
        closes = sum(len(client.ended) for client in everybody)
        assert sum(total(node, "usher_shed_connections_total") for node in nodes) == closes
        nursery.cancel_scope.cancel()


async def come(nursery: trio.Nursery, nodes: list[Node]) -> Client:
    """A client that goes to these nodes, one after the other, whenever it is closed."""
    return await connect(nursery, APP, *(node.port for node in nodes), comes_back=True)


def are_even(nodes: list[Node], count: int) -> bool:
    """Whether all are connected, and no node has too many."""
    counts = [total(node, "usher_connections") for node in nodes]
    return sum(counts) == count and max(counts) <= SKEW * count / len(nodes)


async def quiet_for(seconds: float, clients: list[Client]) -> None:
    """Return when no client was closed for so long."""
    with trio.fail_after(60):
        closes = -1
        while closes != (closes := sum(len(client.ended) for client in clients)):
            await trio.sleep(seconds)
