"""What an event costs as the cluster grows: the same users and backends, among ever fewer other nodes."""

from collections.abc import Iterator

from benchmarks.figures import Better, Figure
from benchmarks.health import Health
from benchmarks.scenarios import steps
from benchmarks.scenarios.scenario import Scenario, user_ids
from benchmarks.stage import Stage

SIZES = (20, 10, 5, 2)
_USERS = 500
_EVENTS = 6_000
_IDLE = 4.0  # seconds
_HEARD = 'usher_bus_messages_total direction="in",kind="event"'


def _run(stage: Stage) -> Iterator[Figure]:
    caller, holder = stage.nodes[:2]
    users = user_ids(stage.scaled(_USERS))
    steps.warm_up(stage, holder.address)
    stage.fleet.connect(holder.address, len(users))
    steps.sign_in_quietly(stage, users)
    for size in SIZES:
        stage.shrink(size)
        idle = steps.idle(stage, f"idle, each of {size} nodes", _IDLE)
        yield Figure(idle.line, idle.value / size, idle.unit, Better.LOWER, series="idle, each node", at=size)
        events = stage.scaled(_EVENTS)
        with Health(stage.nodes) as health:
            sent = steps.send_to_users(stage, "event", caller, users, events)
        cpu = 1e6 * (sent.detail["cpu"] - sent.detail["wall"] * idle.value / 100) / events
        line = f"event for a user of one node, {size} nodes"
        yield Figure(line, cpu, "µs of CPU", Better.LOWER, sent.detail, series="event for a user of one node", at=size)
        heard = health.counted.get(_HEARD, 0.0) / (events + min(len(users), steps.WARM))
        yield Figure(f"nodes that hear of an event, {size} nodes", heard, "nodes", Better.LOWER)


SCENARIO = Scenario(
    "nodes",
    "Backends call one node, users are on a second; there are 20 nodes, of which ever more leave. CPU of all nodes "
    "together, less what they take while idle.",
    nodes=max(SIZES),
    run=_run,
    limits="Nothing grows with the number of nodes but heartbeats: each node hears one a second from every other.",
    compared=False,
)
