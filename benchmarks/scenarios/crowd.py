"""100,000 users on six nodes: everybody signs in, backends send to them, and each node counts its own."""

from collections.abc import Iterator

from benchmarks import wire
from benchmarks.figures import Better, Figure
from benchmarks.health import Health
from benchmarks.scenarios import steps
from benchmarks.scenarios.scenario import Scenario, user_ids
from benchmarks.stage import Stage
from benchmarks.workers import Fleet

_USERS = 100_000
_NODES = 6
_WORKERS = 6  # load processes: each has a sixth of the sockets, within the usual limit of file descriptors
_SLICE = 10_000  # users who come at the same time
_EVENTS = 6_000
_IDLE = 5.0  # seconds
_ONLINE = "usher_users_online_here"


def _run(stage: Stage) -> Iterator[Figure]:
    fleet = stage.fleet
    stage.fleet = Fleet(stage.running.app, max(_WORKERS, stage.options.workers))
    try:
        yield from _gather(stage)
    finally:
        stage.fleet.close()
        stage.fleet = fleet


def _gather(stage: Stage) -> Iterator[Figure]:
    total = stage.scaled(_USERS)
    first, *others = (node.address for node in stage.nodes)
    before = stage.memory()
    with Health(stage.nodes) as health, stage.measure(f"{total:,} users connect and sign in") as cost:
        for start in range(0, total, _SLICE):
            users = user_ids(min(_SLICE, total - start), start)
            stage.fleet.connect(first, len(users), others)
            stage.fleet.prepare_sign_in(users)
            stage.fleet.exchange(wire.SIGNED_IN)
            stage.say(f"{start + len(users):,} users")
    yield stage.rate("users who connect and sign in", total, cost)
    yield Figure("took", cost.wall, "s", Better.LOWER)
    yield Figure("users online, as the nodes count", health.counted.get(_ONLINE, 0.0), "users")
    yield from steps.health(health, ", while they come")
    if stage.nodes[0].program:
        yield steps.memory(stage, "memory", before, total)
    yield steps.idle(stage, "idle, six nodes together", _IDLE)
    sample = user_ids(total)[:: max(1, total // stage.scaled(_EVENTS))]
    yield steps.send_to_users(stage, "server-to-user, six nodes", stage.nodes[0], sample, len(sample))


SCENARIO = Scenario(
    "crowd",
    "100,000 users, one connection each, on six nodes over NATS; backends call the first. CPU of all nodes together.",
    nodes=_NODES,
    run=_run,
    limits="Nodes, NATS and six load processes share the cores there are: seconds by the clock are upper bounds.",
    compared=False,
)
