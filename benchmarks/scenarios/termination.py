"""Terminating users who have connections on two nodes: how long until each is gone everywhere."""

from collections.abc import Iterator, Sequence

from benchmarks.figures import Better, Figure, percentile
from benchmarks.open_loop import OpenLoop, Schedule
from benchmarks.scenarios import steps
from benchmarks.scenarios.scenario import Scenario, user_ids
from benchmarks.stage import Stage
from benchmarks.workers import Worker

_USERS = 500
_RATE = 100.0
_CONNECTIONS = 16
_MS = 1000.0


def _run(stage: Stage) -> Iterator[Figure]:
    users = user_ids(stage.scaled(_USERS))
    for node in stage.nodes:
        stage.fleet.connect(node.address, len(users))
        steps.sign_in_quietly(stage, users)
    backend = Worker(OpenLoop, stage.running.app)
    try:
        first = stage.nodes[0].address
        backend.call("prepare_terminations", first, users)
        stage.fleet.begin_receive_closes()
        with stage.measure("terminations") as cost:
            schedule: Schedule = backend.call("run", first, _RATE, _CONNECTIONS)
            closes = stage.fleet.finish_closes()
    finally:
        backend.close()
    yield stage.rate("terminations, two nodes", len(users), cost)
    last: dict[str, float] = {}
    for user, at in closes:
        last[user] = max(at, last.get(user, 0.0))
    due = dict(zip(users, schedule.due, strict=True))
    yield from _percentiles("last connection closed", [last[user] - due[user] for user in users])
    yield from _percentiles("API answered", [at - on for at, on in zip(schedule.answered, schedule.due, strict=True)])


def _percentiles(what: str, latencies: Sequence[float]) -> Iterator[Figure]:
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        yield Figure(f"{what}, {name}", _MS * percentile(latencies, share), "ms", Better.LOWER, {"longest": max(latencies)})


SCENARIO = Scenario(
    "termination",
    "500 users, each with a connection on either of two nodes, are terminated through the first node at 100/s, open loop.",
    nodes=2,
    run=_run,
    limits="Waking up: at this rate every step of a termination (request, question, two closes, answers) finds both nodes "
    "and NATS asleep. As fast as one backend asks (tried by hand), two nodes spend 0.5 ms of CPU on a user with two "
    "connections, and one node alone 0.26 ms.",
    compared=False,
)
