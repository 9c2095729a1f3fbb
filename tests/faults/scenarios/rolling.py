"""A rolling restart: every node drains and comes back, one after the other, and nobody is told of it."""

import signal
from collections import Counter

import trio

from node.config.settings import Drain, Nats, Presence, Settings
from node.drain import longest_stop
from tests.faults.crowds import assemble, counts_agree
from tests.faults.load import Publisher
from tests.faults.scenario import Scenario
from tests.faults.stage import Stage

RATE = 50.0
UNEVEN = 1.5


def rolling(users: int, spread: float) -> Scenario:
    """With this many users, and seconds to send a node's connections elsewhere."""
    settings = Settings(
        nats=Nats(servers=("nats://x:1",)), drain=Drain(delay=1, spread=spread), presence=Presence(drain_linger=10)
    )

    async def play(stage: Stage, nursery: trio.Nursery, users: int) -> None:
        await assemble(stage, nursery, users)
        async with trio.open_nursery() as load:
            load.start_soon(Publisher(stage, RATE).run)
            for place in range(len(stage.nodes)):
                await _restart(stage, place, longest_stop(settings), spread)
            load.cancel_scope.cancel()
        await stage.settled(5)
        await counts_agree(stage)
        stage.figures["offline frames to those who stayed"] = _offline(stage)
        stage.expect(_offline(stage) == 0, "nobody is told that anybody went offline")

    env = {"USHER_DRAIN__DELAY": "1", "USHER_DRAIN__SPREAD": str(spread), "USHER_PRESENCE__DRAIN_LINGER": "10"}
    return Scenario("rolling", play, users, {"gap": 9.0, "offline": 20.0}, env)


async def _restart(stage: Stage, place: int, grace: float, spread: float) -> None:
    """One node: closes are even, the status is 0 in time, and its own metrics have seen nothing unusual."""
    node = stage.nodes[place]
    there = sum(person.node == place for person in stage.crowd.here)
    flaps = stage.total("presence_flaps_total")
    start = trio.current_time()
    stage.closed = {place}
    stage.signal(node, signal.SIGTERM)
    await stage.eventually(lambda: not node.is_ready(), "it is not ready any more", 2)
    forced = 0.0
    while node.is_running and trio.current_time() - start < grace:
        forced = max(forced, await trio.to_thread.run_sync(stage.metric, place, "forced_closes_total"))
        await trio.sleep(0.25)
    status = await stage.stopped(node, max(0.1, start + grace - trio.current_time()))
    seconds = trio.current_time() - start
    closes = _closes(stage, place, start)
    stage.expect(status == 0, f"{node.name} exits with 0, not {status}")
    stage.expect(forced == 0, f"{node.name} cuts nobody off, not {forced:.0f}")
    stage.expect(stage.total("presence_flaps_total") == flaps, "no flaps are counted")
    if spread >= 2 and there >= 100:
        worst = max(Counter(int(at - closes[0]) for at in closes).values()) / (len(closes) / spread)
        stage.expect(worst <= UNEVEN, f"{node.name} closes evenly: the worst second had {worst:.2f} times the mean")
        stage.figures[f"{node.name}, worst second against the mean"] = f"{worst:.2f}"
    stage.figures[f"{node.name}, closed, seconds of at most {grace:.0f}"] = f"{len(closes)}, {seconds:.1f}"
    await stage.begin(node)
    stage.closed = set()


def _closes(stage: Stage, place: int, since: float) -> list[float]:
    """When connections to the node were closed with 4200, in order."""
    stays = (stay for ledger in stage.crowd.ledgers for stay in ledger.stays if stay.node == place)
    return sorted(stay.ended_at for stay in stays if stay.ended_at >= since and stay.code == 4200)


def _offline(stage: Stage) -> int:
    """Users told offline, first frames included, once everybody was there."""
    everybody_at = max(ledger.stays[0].signed_in_at for ledger in stage.crowd.ledgers) + 1
    stays = (stay for ledger in stage.crowd.ledgers for stay in ledger.stays)
    return sum(len(heard.offline) for stay in stays for heard in stay.heard if heard.at > everybody_at)
