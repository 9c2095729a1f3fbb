"""Faults of every kind, one after the other, at random: after each, everybody sees the truth, and nobody is a ghost.

Clients come and go meanwhile. What is believed while a fault lasts is not judged, but edges alternate throughout and no
event arrives twice; what is believed in the end of each is.
"""

import resource
import signal
from collections.abc import Awaitable, Callable
from itertools import count
from math import inf
from pathlib import Path

import trio

from tests.faults.crowds import assemble, counts_agree, percentile
from tests.faults.load import Publisher
from tests.faults.scenario import Scenario
from tests.faults.scenarios.parting import cut_bus, cut_routes, pause, stall_bus, stall_routes
from tests.faults.stage import Stage

Fault = Callable[[Stage, trio.Nursery], Awaitable[None]]

SETTLED_AFTER_SILENCE = 15.0  # what nobody knows to be broken is found out by time
RATE = 10.0
HERD = 20


async def _last(stage: Stage, longest: float = 5.0) -> None:
    await trio.sleep(stage.random.uniform(0.1, longest))


async def kill_node(stage: Stage, _nursery: trio.Nursery) -> None:
    """A node dies, and is started again."""
    node = stage.random.choice(stage.nodes)
    stage.kill(node)
    await _last(stage)
    await stage.begin(node)


async def restart_node(stage: Stage, _nursery: trio.Nursery) -> None:
    """A node is told to stop, perhaps twice, and is started again."""
    node = stage.random.choice(stage.nodes)
    stage.signal(node, signal.SIGTERM)
    if stage.random.random() < 0.5:
        await _last(stage, 2)
        if node.is_running:
            stage.signal(node, signal.SIGTERM)
    stage.expect(await stage.stopped(node, 30) == 0, f"{node.name} exits with 0")
    await stage.begin(node)


async def kill_server(stage: Stage, _nursery: trio.Nursery) -> None:
    """A nats-server dies, and is started again."""
    server = stage.random.choice(stage.servers)
    stage.kill(server)
    await _last(stage)
    await stage.begin(server)


async def kill_all_servers(stage: Stage, _nursery: trio.Nursery) -> None:
    """All nats-servers die, and are started again."""
    stage.kill(*stage.servers)
    await _last(stage)
    await stage.begin(*stage.servers)


async def lame_duck(stage: Stage, _nursery: trio.Nursery) -> None:
    """A nats-server asks its clients to leave, goes, and is started again."""
    server = stage.random.choice(stage.servers)
    stage.signal(server, signal.SIGUSR2)
    await _last(stage)
    stage.kill(server)
    await stage.begin(server)


async def pause_node(stage: Stage, _nursery: trio.Nursery) -> None:
    """A node stands still, sometimes for longer than its lease."""
    async with pause(stage):
        await _last(stage, stage.random.choice((2.0, 5.0, 14.0)))


async def break_network(stage: Stage, _nursery: trio.Nursery) -> None:
    """Some links carry nothing."""
    async with stage.random.choice((cut_bus, cut_routes, stall_bus, stall_routes))(stage):
        await _last(stage, stage.random.choice((0.5, 3.0, 12.0)))


async def slow_network(stage: Stage, _nursery: trio.Nursery) -> None:
    """Every link takes its time."""
    delay = stage.random.choice((0.01, 0.05, 0.2))
    stage.do("slow", stage.relay.names, delay)
    await _last(stage)
    stage.do("heal", stage.relay.names)


async def herd(stage: Stage, nursery: trio.Nursery, first: int | None = None) -> None:
    """Many come at once to one node, and leave at once."""
    first = stage.random.randrange(len(stage.nodes)) if first is None else first
    stage.note(f"a herd comes to node-{first}")
    watchlist = stage.random.choice(stage.crowd.here).ledger.watchlist
    number = len(stage.crowd.everybody)
    people = [stage.crowd.add(nursery, f"herd{number + i}", watchlist, first) for i in range(HERD)]
    await _last(stage, 2)
    stage.note("the herd leaves")
    async with trio.open_nursery() as leaving:
        for person in people:
            leaving.start_soon(stage.crowd.remove, person)


async def move_people(stage: Stage, nursery: trio.Nursery) -> None:
    """Some leave for a while, and some come back to another node at once."""
    people = stage.random.sample(stage.crowd.here, min(10, len(stage.crowd.here)))
    stage.note(f"{len(people)} people move")
    for person in people:
        await stage.crowd.remove(person)
        await trio.sleep(stage.random.choice((0, 0, 0.5, 1.5)))
        stage.crowd.add(nursery, person.ledger.user, person.ledger.watchlist)


async def exhaust_descriptors(stage: Stage, nursery: trio.Nursery) -> None:
    """A node has no file descriptors left when many come."""
    node = stage.random.choice(stage.nodes)
    stage.note(f"no descriptors are left for {node.name}")
    limits = resource.prlimit(node.pid, resource.RLIMIT_NOFILE)
    used = {int(each.name) for each in Path(f"/proc/{node.pid}/fd").iterdir()}
    free = next(
        number for number in count() if number not in used
    )  # the limit is of numbers, the lowest of which is taken next
    before = node.log.size
    resource.prlimit(node.pid, resource.RLIMIT_NOFILE, (free, limits[1]))
    await herd(stage, nursery, stage.nodes.index(node))
    resource.prlimit(node.pid, resource.RLIMIT_NOFILE, limits)
    stage.expect("cannot accept connections" in node.log.read(before), f"{node.name} had no descriptors")
    stage.note("descriptors are back")


FAULTS: tuple[Fault, ...] = (
    kill_node,
    restart_node,
    kill_server,
    kill_all_servers,
    lame_duck,
    pause_node,
    break_network,
    slow_network,
    herd,
    move_people,
    exhaust_descriptors,
)


def mixed(users: int, faults: int) -> Scenario:
    """So many faults."""

    async def play(stage: Stage, nursery: trio.Nursery, users: int) -> None:
        await assemble(stage, nursery, users)
        took: dict[str, list[float]] = {}
        async with trio.open_nursery() as load:
            load.start_soon(Publisher(stage, RATE).run)
            for number in range(faults):
                fault = stage.random.choice(FAULTS)
                stage.note(f"fault {number}: {fault.__name__}")
                async with stage.excused(why=fault.__name__, settle=SETTLED_AFTER_SILENCE):
                    await fault(stage, nursery)
                    took.setdefault(fault.__name__, []).append(await stage.settled(SETTLED_AFTER_SILENCE))
                    await trio.sleep(1)  # it was no coincidence
                    await stage.settled(SETTLED_AFTER_SILENCE)
                if len(stage.failures) > 3:
                    break
            load.cancel_scope.cancel()
        await counts_agree(stage)
        stage.expect(stage.total("errors_total") == 0, "no node met an error")
        for name, seconds in sorted(took.items()):
            stage.figures[f"{name}, times, seconds until settled p50, max"] = (
                f"{len(seconds)}, {percentile(seconds, 0.5):.1f}, {max(seconds):.1f}"
            )
        stage.figures["faults"] = sum(map(len, took.values()))

    env = {"USHER_DRAIN__SPREAD": "1", "USHER_PRESENCE__DRAIN_LINGER": "4"}
    return Scenario("mixed", play, users, {"offline": inf, "online": inf}, env)
