"""One node and its clients: everything that a connection does in its life, one after the other."""

from collections.abc import Iterator
from functools import partial

from benchmarks.figures import Figure
from benchmarks.scenarios import steps
from benchmarks.scenarios.scenario import Scenario, user_ids
from benchmarks.stage import Stage

_PINGS = 100_000
_EVENTS = 8_000
_IDLE = 8.0  # seconds


def _run(size: int, stage: Stage) -> Iterator[Figure]:
    node, count = stage.nodes[0], stage.scaled(size)
    users = user_ids(count)
    at = f" @ {count:,}"
    steps.warm_up(stage, node.address)
    yield steps.idle(stage, "idle, 200 connections", _IDLE / 2)
    before = stage.memory() if node.program else 0
    yield steps.connect(stage, "connect" + at, node.address, count)
    yield steps.sign_in(stage, "sign-in" + at, users)
    yield steps.subscribe(stage, "subscribe, own channel" + at, users)
    yield steps.subscribe_all(stage, "subscribe, shared channel" + at, "news", count)
    if node.program:
        yield steps.memory(stage, "memory" + at, before, count)
    yield steps.ping(stage, "ping → pong" + at, stage.scaled(_PINGS))
    yield steps.send_to_users(stage, "server-to-user, one node" + at, node, users, stage.scaled(_EVENTS))
    yield steps.idle(stage, "idle" + at, _IDLE)


_ABOUT = "One node, {} connections: each connects, signs in, subscribes, pings and gets events from the HTTP API."

_LIMITS = (
    "In process, without clients beside it, a sign-in takes 30 µs: 7 in send(2), 2 in checking the signature, the rest in "
    "some 130 short calls; an event for a user takes 55: two sends 14, head and body 8, signature 5, the rest likewise; a "
    "ping takes 10, most of it in the kernel. Interpreted code that makes objects suffers most from neighbours who share "
    "the machine's caches: within two hours the same sign-in took from 34 to 81 µs here, soketi's from 44 to 68."
)

SCENARIOS = tuple(
    Scenario(f"one-node-{size}", _ABOUT.format(f"{size:,}"), nodes=1, run=partial(_run, size), limits=_LIMITS)
    for size in (2000, 8000)
)
