"""Three nats-servers with routes, one node on each: interest takes time to spread between them.

Here are the races that the fence, and the order "interest first, then snapshot", are there to win. Every user is new and
almost every presence shard is, so every sign-in is a race. Without a fence the first test loses events, without waiting for
snapshots the second misses users: see CONTRIBUTING.md for how to see it.
"""

import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import cycle, permutations

import pytest
import trio

from tests.api_client import ApiClient
from tests.client import Client, connect
from tests.integration.support import APP, total
from tests.processes import Node, Processes

RACES = 2000
AT_ONCE = 16
HEARD_WITHIN = 5.0

Race = Callable[[trio.Nursery, int, Node, Node], Awaitable[bool]]


@pytest.fixture
def nodes(processes: Processes) -> list[Node]:
    """Three nodes, each on a nats-server of its own."""
    env = {"USHER_CLUSTER__SHARDS": "65536", "USHER_PRESENCE__LINGER": "0"}
    servers = processes.start_nats_cluster(3)
    started = [processes.start_nodes(1, server, env=env, wait=False)[0] for server in servers]
    for node in started:
        node.wait_ready()
    return started


async def run_races(what: str, race: Race, nodes: list[Node]) -> list[int]:
    """Run all races, some at a time, each between two other nodes; the numbers of those that were lost."""
    numbers, places = iter(range(RACES)), cycle(permutations(nodes, 2))
    lost: list[int] = []

    async def run_some() -> None:
        for number in numbers:
            if not await race(background, number, *next(places)):
                lost.append(number)

    start = time.monotonic()
    async with trio.open_nursery() as background:
        async with trio.open_nursery() as racers:
            for _ in range(AT_ONCE):
                racers.start_soon(run_some)
        print(f"{RACES} {what} in {time.monotonic() - start:.1f} s, {len(lost)} of them lost")
        print({node.name: node.metrics() for node in ()})
    return lost


async def heard(client: Client, is_so: Callable[[], object]) -> bool:
    """Whether it becomes so in time."""
    with trio.move_on_after(HEARD_WITHIN):
        await client.until(is_so, 2 * HEARD_WITHIN)
    return bool(is_so())


def repairs(nodes: list[Node]) -> float:
    """How often any node noticed that it had missed something."""
    return sum(total(node, "usher_presence_repairs_total") for node in nodes)


@pytest.mark.slow
async def test_no_event_is_lost_that_another_node_publishes_at_the_moment_of_success(nodes: list[Node]) -> None:
    """The publisher hears of the sign-in at once, and talks to a node on another nats-server."""
    backends = {node.name: ApiClient(APP, node.port) for node in nodes}

    async def race(background: trio.Nursery, number: int, node: Node, other: Node) -> bool:
        client = await connect(background, APP, node.port)
        await client.sign_in(f"user-{number}")
        response = await backends[other.name].send_to_user(f"user-{number}", "hello", "you")
        assert response.status == 200
        was_heard = await heard(client, lambda: client.events)
        assert len(client.events) <= 1
        await client.close()
        return was_heard

    assert await run_races("events", race, nodes) == []
    for backend in backends.values():
        await backend.aclose()


@pytest.mark.slow
async def test_no_watcher_misses_a_user_who_signs_in_at_the_same_moment(nodes: list[Node]) -> None:
    """None at all, and before any repair: what a repair finds was missed."""

    async def race(background: trio.Nursery, number: int, node: Node, other: Node) -> bool:
        watcher = await connect(background, APP, node.port)
        watched = await connect(background, APP, other.port)
        moves = [
            partial(watcher.send_sign_in, f"watcher-{number}", [f"watched-{number}"]),
            partial(watched.send_sign_in, f"watched-{number}"),
        ]
        for move in moves if number % 2 else reversed(moves):
            await move()
        was_heard = await heard(watcher, lambda: watcher.view.get(f"watched-{number}"))
        assert watcher.changes_of(f"watched-{number}") in ([True], [False, True], [False])
        await watcher.close()
        await watched.close()
        return was_heard

    assert await run_races("pairs", race, nodes) == []
    assert repairs(nodes) == 0
