"""Three nats-servers with routes, one node on each: interest takes time to spread between them.

Here are the races that the fence, and the order "interest first, then snapshot", are there to win. Every user is new and
almost every presence shard is, so every sign-in is a race. Routes on one machine are so fast that a node without a fence
loses one event in sixty; over routes of five milliseconds it loses most.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import cycle, permutations

import pytest
import trio

from tests.client import Client, connect
from tests.integration.links import run_link
from tests.integration.support import APP, api, eventually, ready, total
from tests.processes import NatsServer, Node, Processes, free_ports

AT_ONCE = 16
HEARD_WITHIN = 5.0
ENOUGH = 50  # lost races prove the point

Race = Callable[[trio.Nursery, int, Node, Node], Awaitable[bool]]

near_and_far = pytest.mark.parametrize(
    ("delay", "races"), [pytest.param(0.0, 2000, id="near"), pytest.param(0.005, 400, id="far")]
)


@asynccontextmanager
async def running_nodes(processes: Processes, delay: float) -> AsyncIterator[list[Node]]:
    """Three nodes, each on a nats-server of its own, with routes that take `delay` seconds each way."""
    async with trio.open_nursery() as nursery:
        servers = await start_distant(nursery, processes, delay) if delay else processes.start_nats_cluster(3)
        env = {"USHER_CLUSTER__SHARDS": "65536", "USHER_PRESENCE__LINGER": "0"}
        nodes = [processes.start_nodes(1, server, env=env, wait=False)[0] for server in servers]
        await ready(*nodes)
        yield nodes
        nursery.cancel_scope.cancel()


async def start_distant(nursery: trio.Nursery, processes: Processes, delay: float) -> list[NatsServer]:
    """Start nats-servers that know each other by the address of a slow link only."""
    servers: list[NatsServer] = []
    links: list[str] = []
    for _ in range(3):
        (port,) = free_ports(1)
        address = f"127.0.0.1:{port}"
        advertise = ("--cluster_advertise", address)
        server = NatsServer(f"nats-{len(servers)}", processes.directory, [f"nats://{link}" for link in links], advertise)
        await nursery.start(run_link, port, int(server.routes_url.rpartition(":")[2]), delay)
        processes.start(server)
        servers.append(server)
        links.append(address)
    await ready(*servers)
    await eventually(lambda: all(server.peers() == 2 for server in servers), "every NATS server knows all others")
    return servers


async def run_races(what: str, count: int, race: Race, nodes: list[Node]) -> list[int]:
    """Run all races, some at a time, each between two other nodes; the numbers of those that were lost."""
    numbers, places = iter(range(count)), cycle(permutations(nodes, 2))
    lost: list[int] = []

    async def run_some() -> None:
        for number in numbers:
            if len(lost) >= ENOUGH:
                return
            if not await race(background, number, *next(places)):
                lost.append(number)

    start = time.monotonic()
    async with trio.open_nursery() as background:
        async with trio.open_nursery() as racers:
            for _ in range(AT_ONCE):
                racers.start_soon(run_some)
        background.cancel_scope.cancel()
    print(f"{count} {what} in {time.monotonic() - start:.1f} s, {len(lost)} lost, {_repairs(nodes):.0f} repaired")
    return lost


async def _heard(client: Client, is_so: Callable[[], object]) -> bool:
    """Whether it becomes so in time."""
    with trio.move_on_after(HEARD_WITHIN):
        await client.until(is_so, 2 * HEARD_WITHIN)
    return bool(is_so())


def _repairs(nodes: list[Node]) -> float:
    """How often any node noticed that it had missed something."""
    return sum(total(node, "usher_presence_repairs_total") for node in nodes)


@pytest.mark.slow
@near_and_far
async def test_no_event_is_lost_that_another_node_publishes_at_the_moment_of_success(
    processes: Processes, delay: float, races: int
) -> None:
    """The publisher hears of the sign-in at once, and talks to a node on another nats-server."""

    async def race(background: trio.Nursery, number: int, node: Node, other: Node) -> bool:
        client = await connect(background, APP, node.port)
        await client.sign_in(f"user-{number}")
        response = await backends[other.name].send_to_user(f"user-{number}", "hello", "you")
        assert response.status == 200
        was_heard = await _heard(client, lambda: client.events)
        assert len(client.events) <= 1
        await client.close()
        return was_heard

    async with (
        running_nodes(processes, delay) as nodes,
        api(nodes[0]) as first,
        api(nodes[1]) as second,
        api(nodes[2]) as third,
    ):
        backends = dict(zip((node.name for node in nodes), (first, second, third), strict=True))
        assert await run_races("events", races, race, nodes) == []


@pytest.mark.slow
@near_and_far
async def test_no_watcher_misses_a_user_who_signs_in_at_the_same_moment(
    processes: Processes, delay: float, races: int
) -> None:
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
        was_heard = await _heard(watcher, lambda: watcher.view.get(f"watched-{number}"))
        assert watcher.changes_of(f"watched-{number}") in ([True], [False, True], [False], [])
        await watcher.close()
        await watched.close()
        return was_heard

    async with running_nodes(processes, delay) as nodes:
        assert await run_races("pairs", races, race, nodes) == []
        assert _repairs(nodes) == 0
