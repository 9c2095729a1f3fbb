"""Two nodes over NATS: backends call one, users are on the other."""

from collections.abc import Iterator

from benchmarks.figures import Figure
from benchmarks.scenarios import steps
from benchmarks.scenarios.scenario import Scenario, user_ids
from benchmarks.stage import Stage

_SIZE = 1000
_PINGS = 50_000
_EVENTS = 8_000


def _run(stage: Stage) -> Iterator[Figure]:
    first, second = stage.nodes
    count = stage.scaled(_SIZE)
    users = user_ids(count)
    steps.warm_up(stage, second.address)
    yield steps.connect(stage, "connect, two nodes", second.address, count)
    yield steps.sign_in(stage, "sign-in, two nodes", users)
    yield steps.subscribe(stage, "subscribe, own channel, two nodes", users)
    yield steps.ping(stage, "ping → pong, two nodes", stage.scaled(_PINGS))
    yield steps.send_to_users(stage, "server-to-user, two nodes", first, users, stage.scaled(_EVENTS))


SCENARIO = Scenario(
    "two-nodes",
    "Two nodes over NATS, 1,000 users on the second: backends call the first. CPU of both nodes.",
    nodes=2,
    limits="The first node, with nearly three quarters of the CPU time of an event: it reads and verifies the request, "
    "publishes, and answers once NATS has confirmed.",
    run=_run,
)
