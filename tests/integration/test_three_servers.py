"""Three nats-servers with routes, one node on each: interest takes time to spread between them.

Here the races live that a fence and the order "interest first, then snapshot" are there to win. Every user and every shard
is a new one, so that every sign-in is a race; without the fence, about one event in ten is lost, see CONTRIBUTING.md.
"""

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import trio

from tests.api_client import ApiClient
from tests.client import connect
from tests.integration.support import APP, ready, total
from tests.processes import Node, Processes

EVENTS = 2000
PAIRS = 2000
AT_ONCE = 24
HEARD_WITHIN = 5.0


@pytest.fixture
def nodes(processes: Processes) -> list[Node]:
    """Three nodes, each on a nats-server of its own. There are so many shards that hardly two users share one."""
    servers = processes.start_nats_cluster(3)
    env = {"USHER_CLUSTER__SHARDS": "65536", "USHER_PRESENCE__LINGER": "0"}
    started = [processes.start_nodes(1, server, env=env, wait=False)[0] for server in servers]
    for node in started:
        node.wait_ready()
    return started


def _rotations(nodes: list[Node]) -> Iterator[tuple[Node, Node]]:
    """Each node with each other one, again and again."""
    ordered = [(one, other) for one in nodes for other in nodes if one is not other]
    for number in count():
        yield ordered[number % len(ordered)]


def _repairs(nodes: list[Node]) -> float:
    return sum(total(node, "usher_presence_repairs_total") for node in nodes)


@pytest.mark.slow
async def test_no_event_is_lost_that_another_node_publishes_at_the_moment_of_success(
    nodes: list[Node], record_property
) -> None:
    """The publisher is a backend that heard of the sign-in at once, and talks to a node on another nats-server."""
    places = _rotations(nodes)
    backends = {node.name: ApiClient(APP, node.port) for node in nodes}
    numbers = iter(range(EVENTS))
    lost: list[str] = []

    async def race() -> None:
        for number in numbers:
            node, other = next(places)
            user = f"user-{number}"
            client = await connect(nursery, APP, node.port)
            await client.sign_in(user)
            assert (await backends[other.name].send_to_user(user, "hello", user)).status == 200
            with trio.move_on_after(HEARD_WITHIN):
                await client.until(lambda client=client: client.events, HEARD_WITHIN + 1)
            if [told.data for told in client.events] != [user]:
                lost.append(user)
            await client.close()

    start = time.monotonic()
    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as racers:
            for _ in range(AT_ONCE):
                racers.start_soon(race)
    print(f"{EVENTS} events in {time.monotonic() - start:.1f} s")
    assert lost == []
    assert _repairs(nodes) == 0
