"""A channel with very many subscribers: each event goes to all of them, against the least that this can cost."""

import time
from collections.abc import Iterator

from benchmarks import wire
from benchmarks.bare import BareSender
from benchmarks.figures import Better, Figure
from benchmarks.health import Health
from benchmarks.processes import LOOPBACK
from benchmarks.scenarios import steps
from benchmarks.scenarios.scenario import Scenario
from benchmarks.stage import Cost, Stage
from benchmarks.wire import Address
from benchmarks.workers import Fleet, Worker

_SIZE = 2000
_LARGE = 10_000
_BLOCKS = 4  # the two are measured in turns, so that what else the machine does falls on both
_EVENTS = 12  # in a block
_LARGE_EVENTS = 20
_CHANNEL = "news"


def _run(stage: Stage) -> Iterator[Figure]:
    node, count = stage.nodes[0], stage.scaled(_SIZE)
    steps.warm_up(stage, node.address)
    _gather(stage, count)
    callers = stage.callers()
    _send(stage, callers, 2)
    bare = Fleet(stage.running.app, stage.options.workers)
    sender = Worker(BareSender)
    try:
        sender_address = Address(LOOPBACK, sender.call("port"))
        sender.begin("accept", count)
        bare.connect(sender_address, count)
        sender.finish()
        yield from _compare(stage, callers, bare, sender, count)
    finally:
        sender.close()
        bare.close()
    if node.ops_url:
        yield from _watch(stage, callers, count)


def _gather(stage: Stage, count: int) -> None:
    """Open connections that subscribe to the one channel."""
    stage.say(f"{count:,} subscribers")
    stage.fleet.connect(stage.nodes[0].address, count)
    stage.fleet.prepare_subscribe([_CHANNEL] * count)
    stage.fleet.exchange(wire.SUBSCRIBED)


def _send(stage: Stage, callers: Worker, events: int) -> None:
    """Send events, each after all connections have the one before."""
    for _ in range(events):
        callers.call("prepare_events", stage.nodes[0].address, [_CHANNEL], steps.DATA)
        stage.fleet.begin_receive_by_all()
        callers.call("run", 1)
        stage.fleet.finish_receive()


def _compare(stage: Stage, callers: Worker, bare: Fleet, sender: Worker, count: int) -> Iterator[Figure]:
    frame = wire.encode_from_server(wire.event_text(_CHANNEL, steps.DATA))
    ours, least = Cost(), 0.0
    for _ in range(_BLOCKS):
        least += sum(_send_bare(bare, sender, frame) for _ in range(_EVENTS))
        with stage.measure("fan-out") as cost:
            _send(stage, callers, _EVENTS)
        ours.add(cost)
    deliveries = _BLOCKS * _EVENTS * count
    figure = stage.rate(f"fan-out @ {count:,}", deliveries, ours)
    yield figure
    yield Figure("bare loop of send(2)", deliveries / least, "per CPU-second", Better.HIGHER, {"cpu": least})
    if ours.cpu:
        yield Figure("share of a bare loop", 100 * least / ours.cpu, "%", Better.HIGHER)


def _send_bare(bare: Fleet, sender: Worker, frame: bytes) -> float:
    bare.begin_receive_by_all()
    seconds = float(sender.call("send", frame))
    bare.finish_receive()
    return seconds


def _watch(stage: Stage, callers: Worker, before: int) -> Iterator[Figure]:
    """The same with many more connections, and whether the node does anything else meanwhile."""
    size = stage.scaled(_LARGE)
    _gather(stage, size - before)
    stage.say(f"fan-out to {size:,}")
    requests = [_CHANNEL] * _LARGE_EVENTS
    callers.call("prepare_events", stage.nodes[0].address, requests, steps.DATA)
    with Health(stage.nodes) as health:
        start = time.monotonic()
        stage.fleet.begin_receive_by_channel(_CHANNEL, _LARGE_EVENTS)
        callers.call("run", 1)
        stage.fleet.finish_receive()
        seconds = time.monotonic() - start
    at = f", fan-out to {size:,}"
    yield Figure("deliveries" + at, _LARGE_EVENTS * size / seconds, "per second")
    yield from steps.health(health, at)


SCENARIO = Scenario(
    "fanout",
    "A channel with 2,000 subscribers on one node: each event through the HTTP API goes to all, against a bare loop of "
    "send(2) of the same frame over as many sockets. Then 10,000 connections: is the node responsive meanwhile?",
    nodes=1,
    run=_run,
    limits="The kernel: most of the time is in send(2), which runs the whole path of a packet over loopback, and "
    "wakes the receiver (86 % of the samples of py-spy). The bare loop, which does nothing else, is itself only 1.4 times "
    "as good as soketi.",
)
