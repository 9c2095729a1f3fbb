"""A node stands still, or a part of the network does: afterwards everybody sees the truth again, edges alternating.

While it lasts, each side believes what it can: the users of a paused node are offline for the others once its lease ends.
"""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from tests.faults.crowds import assemble, counts_agree, told_offline
from tests.faults.load import Publisher
from tests.faults.scenario import Scenario
from tests.faults.stage import Stage

HEALED_WITHIN = 10.0
"""Seconds until all views are true again: the promise. They were within 1.2 s when this was written."""
RATE = 20.0

Parting = Callable[[Stage], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def pause(stage: Stage) -> AsyncIterator[None]:
    """A node's process is stopped, and goes on; others are not excused."""
    place = stage.random.randrange(len(stage.nodes))
    async with stage.excused(place, why="paused", settle=HEALED_WITHIN):
        stage.signal(stage.nodes[place], signal.SIGSTOP)
        stage.closed = {place}
        yield
        stage.signal(stage.nodes[place], signal.SIGCONT)
        stage.closed = set()


@asynccontextmanager
async def cut_routes(stage: Stage) -> AsyncIterator[None]:
    """A nats-server loses the others, and they know."""
    async with _broken(stage, "cut", stage.links(of_server=stage.random.randrange(3))):
        yield


@asynccontextmanager
async def stall_routes(stage: Stage) -> AsyncIterator[None]:
    """A nats-server loses the others, and nobody says so."""
    async with _broken(stage, "stall", stage.links(of_server=stage.random.randrange(3))):
        yield


@asynccontextmanager
async def cut_bus(stage: Stage) -> AsyncIterator[None]:
    """A node loses every nats-server, and knows."""
    async with _broken(stage, "cut", stage.links(of_node=stage.random.randrange(3))):
        yield


@asynccontextmanager
async def stall_bus(stage: Stage) -> AsyncIterator[None]:
    """A node hears nothing from any nats-server, and nobody says so."""
    async with _broken(stage, "stall", stage.links(of_node=stage.random.randrange(3))):
        yield


@asynccontextmanager
async def _broken(stage: Stage, verb: str, links: list[str]) -> AsyncIterator[None]:
    async with stage.excused(why=verb, settle=HEALED_WITHIN):
        stage.do(verb, links)
        yield
        stage.do("heal", links)


def parting(name: str, parting: Parting, users: int, seconds: float, lease: float = 10.0) -> Scenario:
    """One kind of parting, for so long; nodes have this lease."""

    async def play(stage: Stage, nursery: trio.Nursery, users: int) -> None:
        await assemble(stage, nursery, users)
        async with trio.open_nursery() as load:
            load.start_soon(Publisher(stage, RATE).run)
            start = trio.current_time()
            async with parting(stage):
                await trio.sleep(seconds)
            stage.figures["users told offline meanwhile"] = len(told_offline(stage, stage.crowd.here, start))
            took = await stage.settled(HEALED_WITHIN)
            stage.figures[f"seconds until all views were true, of {HEALED_WITHIN:.0f}"] = f"{took:.2f}"
            await trio.sleep(2)
            await counts_agree(stage)
            load.cancel_scope.cancel()
        await stage.settled(0.5)
        stage.expect(stage.total("errors_total") == 0, "no node met an error")

    return Scenario(name, play, users, {"gap": 0.8, "offline": 5.0, "online": 5.0}, {"USHER_CLUSTER__LEASE": str(lease)})
