"""Server-to-user events from one node to another at fixed rates: how long each takes, against a bare hop over NATS."""

from collections.abc import Iterator, Sequence

from benchmarks import wire
from benchmarks.figures import Better, Figure, percentile
from benchmarks.nats_hop import Publisher, Subscriber
from benchmarks.open_loop import OpenLoop, Schedule
from benchmarks.scenarios import steps
from benchmarks.scenarios.scenario import Scenario, user_ids
from benchmarks.stage import Stage
from benchmarks.workers import Worker

_USERS = 200
_RATE = 1000.0
_OTHER_RATES = (250.0, 2000.0)
_BLOCKS = 4  # the two are measured in turns, so that what else the machine does falls on both
_SECONDS = 2.0  # of a block
_CONNECTIONS = 64
_MS = 1000.0


def _run(stage: Stage) -> Iterator[Figure]:
    second = stage.nodes[1]
    users = user_ids(stage.scaled(_USERS))
    steps.warm_up(stage, second.address)
    stage.fleet.connect(second.address, len(users))
    steps.sign_in_quietly(stage, users)
    stage.fleet.prepare_subscribe([wire.user_channel(user) for user in users])
    stage.fleet.exchange(wire.SUBSCRIBED)
    backend = Worker(OpenLoop, stage.running.app)
    url = stage.running.bus_url
    hop = (Worker(Publisher, url), Worker(Subscriber, url)) if url else None
    try:
        _send(stage, backend, users, _RATE, 0.5)  # warm
        yield from _compare(stage, backend, hop, users)
        for rate in _OTHER_RATES:
            yield from _curve(_send(stage, backend, users, rate, _SECONDS), rate)
    finally:
        for worker in (backend, *(hop or ())):
            worker.close()


def _compare(stage: Stage, backend: Worker, hop: tuple[Worker, Worker] | None, users: Sequence[str]) -> Iterator[Figure]:
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(_BLOCKS):
        if hop:
            bare += _hop(stage, *hop)
        ours += _send(stage, backend, users, _RATE, _SECONDS)
    yield from _curve(ours, _RATE)
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        if bare:
            mine, least = percentile(ours, share), percentile(bare, share)
            yield Figure(f"bare hop over NATS {name} @ {_RATE:,.0f}/s", _MS * least, "ms", Better.LOWER)
            yield Figure(f"{name} against a bare hop", mine / least, "times", Better.LOWER)


def _curve(latencies: Sequence[float], rate: float) -> Iterator[Figure]:
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        detail = {"events": len(latencies), "longest": max(latencies)}
        value = _MS * percentile(latencies, share)
        yield Figure(f"latency {name} @ {rate:,.0f}/s", value, "ms", Better.LOWER, detail, name, rate)


def _send(stage: Stage, backend: Worker, users: Sequence[str], rate: float, seconds: float) -> list[float]:
    """Events through the first node to users on the second; the seconds that each took from when it was due."""
    stage.say(f"server-to-user at {rate:,.0f}/s")
    first = stage.nodes[0].address
    targets = [users[number % len(users)] for number in range(stage.scaled(int(rate * seconds)))]
    backend.call("prepare_events", first, [wire.user_channel(user) for user in targets])
    stage.fleet.begin_receive_numbered(targets)
    schedule: Schedule = backend.call("run", first, rate, _CONNECTIONS)
    heard = stage.fleet.finish_numbered()
    return [heard[number] - at for number, at in enumerate(schedule.due)]


def _hop(stage: Stage, publisher: Worker, subscriber: Worker) -> list[float]:
    stage.say(f"bare hop over NATS at {_RATE:,.0f}/s")
    count = stage.scaled(int(_RATE * _SECONDS))
    subscriber.begin("receive", count)
    schedule: Schedule = publisher.call("run", _RATE, count)
    heard = subscriber.finish()
    return [heard[number] - at for number, at in enumerate(schedule.due)]


SCENARIO = Scenario(
    "latency",
    "Two nodes over NATS, open loop: from when an event was due at a backend of the first node to when a user of the "
    "second has it, against a bare publish and subscribe with nats-py over the same NATS server, in turns.",
    nodes=2,
    run=_run,
    limits="It is three hops (HTTP, NATS, WebSocket) and four processes where the bare hop is one and two; with fewer "
    "cores than processes, part of it is waiting for one (how much was not measured).",
    compared=False,
)
