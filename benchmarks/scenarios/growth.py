"""One node grows from 1,000 to 18,000 connections: what each operation costs then."""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.figures import Better, Figure
from benchmarks.scenarios import steps
from benchmarks.scenarios.scenario import Scenario, user_ids
from benchmarks.stage import Stage

SIZES = (1000, 2000, 4000, 8000, 18_000)
_SAMPLE = 1000  # connections that the operations are measured on, while the others are idle
_PINGS = 40_000
_EVENTS = 3_000
_IDLE = 8.0  # seconds


def _run(stage: Stage) -> Iterator[Figure]:
    node = stage.nodes[0]
    steps.warm_up(stage, node.address)
    sizes = [stage.scaled(size) for size in SIZES]
    seen = bool(stage.running.programs)
    speeds: dict[str, dict[int, float]] = {}
    for size in sizes:
        for figure in _measure(stage, size):
            yield replace(figure, line=f"{figure.line}, 1 of {size:,}", series=figure.line, at=size)
            if figure.better is Better.HIGHER and seen:
                speeds.setdefault(figure.line, {})[size] = figure.value
    small, large = sizes[1], sizes[-1]
    for line, at in speeds.items():
        yield Figure(
            f"cost at {large:,} connections against {small:,}, {line}", at[small] / at[large], "times", Better.LOWER
        )
    yield steps.idle(stage, f"idle, {large:,} connections", _IDLE)


def _measure(stage: Stage, size: int) -> Iterator[Figure]:
    """Let the node grow, the last thousand under measurement; then ping on all and send to the last thousand."""
    node, fleet = stage.nodes[0], stage.fleet
    sample = min(stage.scaled(_SAMPLE), size - fleet.size)
    users = user_ids(size - sample - fleet.size, fleet.size)
    if users:
        stage.say(f"growing to {size:,}")
        fleet.connect(node.address, len(users))
        steps.sign_in_quietly(stage, users)
    newest = user_ids(sample, fleet.size)
    yield steps.connect(stage, "connect", node.address, sample)
    yield steps.sign_in(stage, "sign-in", newest)
    yield steps.subscribe(stage, "subscribe, own channel", newest)
    yield steps.ping(stage, "ping → pong", stage.scaled(_PINGS))
    yield steps.send_to_users(stage, "server-to-user, one node", node, newest, stage.scaled(_EVENTS))
    if node.program:
        yield Figure("whole node", stage.memory() / 2**20, "MiB", Better.LOWER)


SCENARIO = Scenario(
    "growth",
    "One node from 1,000 to 18,000 connections. Pings are on all connections, the rest on the newest thousand.",
    nodes=1,
    run=_run,
    limits="A thousand operations take 20 to 100 ms, so single points are noisy. Nothing is done for idle connections; what "
    "grows is the memory that pings touch, and the kernel's tables of sockets.",
)
