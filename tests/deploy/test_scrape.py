"""A real Prometheus scrapes three real nodes with the real rules: its counts are the traffic's, and a death is told."""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from deploy.dashboard import expressions
from deploy.panels import FOREIGN
from node.metrics import Metrics
from tests.client import Client, Credentials, Refused, all_until, connect
from tests.deploy.prometheus import Prometheus, hurried
from tests.deploy.promql import RULES, names, recorded, rules
from tests.integration.support import APP, all_of, api, apps_toml, eventually
from tests.integration.support import names as users_named
from tests.processes import LOOPBACK, Node, Processes

pytestmark = pytest.mark.slow

USERS, SEEN_BY, EVENTS, REFUSED, TERMINATED = 30, 3, 25, 4, 2
"""Users in all, watchers of all of them, events for each of the first ten users, wrong signatures, users terminated."""
WAIT = "3s"
OF_THE_MACHINE = {"UsherApiSlow", "UsherCpuNearlyFull", "UsherLoopLate"}
"""What other work on a small machine may raise."""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """Three nodes on one NATS; none may log an error."""
    with Processes(tmp_path, apps_toml(APP)) as started:
        started.start_nodes(3, started.start_nats())
        with started.no_problems():
            yield started


@pytest.fixture
def prometheus(processes: Processes) -> Prometheus:
    """It scrapes the nodes, with rules whose alerts do not wait long."""
    targets = [f"{LOOPBACK}:{node.ops_port}" for node in processes.nodes]
    server = Prometheus(processes.directory, hurried(RULES.read_text(), WAIT), targets)
    processes.start(server)
    server.wait_ready()
    return server


async def drive(nursery: trio.Nursery, nodes: list[Node]) -> list[Client]:
    """So many users sign in on all nodes, some watch all others, and all kinds of things happen to them; all who stay."""
    users = users_named("user", USERS)
    clients = [await connect(nursery, APP, nodes[number % 3].port) for number in range(USERS)]
    watchlists = [users if number < SEEN_BY else () for number in range(USERS)]
    await all_of(*map(partial, (client.sign_in for client in clients), users, watchlists))
    forger = Credentials(APP.app_id, APP.key, "wrong")
    for _ in range(REFUSED):
        forged = await connect(nursery, forger, nodes[0].port)
        with pytest.raises(Refused):
            await forged.sign_in("mallory")
        await forged.close()
    async with api(nodes[1]) as backend:
        for user in users[:10]:
            for number in range(EVENTS):
                assert (await backend.send_to_user(user, "hello", str(number))).status == 200
        for user in users[-TERMINATED:]:
            await backend.terminate(user)
        assert (await backend.ask("GET", "/nowhere")).status == 404
    await all_until(clients[:10], lambda client: len(client.events) == EVENTS)
    await all_until(clients[-TERMINATED:], lambda client: client.ended)
    return clients[:-TERMINATED]


def counts() -> dict[str, float]:
    """What is asked, and what the traffic makes of it."""
    return {
        "sum(up)": 3,
        "sum(usher_connections)": USERS - TERMINATED,
        "sum(usher_signed_in_connections)": USERS - TERMINATED,
        "sum(usher_users_online_here)": USERS - TERMINATED,
        'sum(usher_signins_total{result="success"})': USERS,
        'sum(usher_signins_total{result="refused"})': REFUSED,
        "sum(usher_watch_edges)": USERS * SEEN_BY,
        "sum(usher_terminations_total)": TERMINATED,
        'sum(usher_closes_total{code="4200"})': TERMINATED,
        'sum(usher_closes_total{code="peer"})': REFUSED,
        'sum(usher_messages_received_total{kind="signin"})': USERS + REFUSED,
        'sum(usher_api_requests_total{route="/apps/{app}/events", status="200"})': 10 * EVENTS,
        'sum(usher_api_request_seconds_count{route="/apps/{app}/events"})': 10 * EVENTS,
        'sum(usher_api_requests_total{status="404"})': 1,
        'min(usher_peers{state="up"})': 2,
        "min(usher_bus_connected)": 1,
        "job:usher_connections:sum": USERS - TERMINATED,
    }


async def test_prometheus_counts_what_happened_and_tells_of_a_node_that_dies(
    processes: Processes, prometheus: Prometheus
) -> None:
    """While all is well nothing fires; one SIGKILL raises one alert, on the node that died."""
    nodes = processes.nodes
    async with trio.open_nursery() as nursery:
        clients = await drive(nursery, nodes)
        for question, answer in counts().items():
            await becomes(prometheus, question, answer)
        async with api(nodes[1]) as backend:
            assert (await backend.send_to_user("user0", "again", "")).status == 200
        await becomes(prometheus, "job:usher_api_failures:ratio_rate5m", 0)  # a rate needs two scrapes
        assert firing(prometheus) == set()
        await assert_everything_named_is_there(prometheus)
        nodes[2].kill()
        down = {("UsherNodeDown", f"{LOOPBACK}:{nodes[2].ops_port}")}
        await eventually(lambda: firing(prometheus) == down, "the alert fires")
        await becomes(prometheus, "sum(usher_connections)", len([c for n, c in enumerate(clients) if n % 3 != 2]))
        assert firing(prometheus) == down
        nursery.cancel_scope.cancel()


def firing(prometheus: Prometheus) -> set[tuple[str, str]]:
    """The (name, instance) of what fires, but for what other work on the machine may raise."""
    return {(name, instance) for name, instance in prometheus.firing() if name not in OF_THE_MACHINE}


async def becomes(prometheus: Prometheus, question: str, answer: float) -> None:
    """Return when Prometheus gives that answer."""
    with contextlib.suppress(AssertionError):
        await eventually(lambda: prometheus.value(question) == answer, question, 10)
    assert (question, prometheus.value(question)) == (question, answer)


async def assert_everything_named_is_there(prometheus: Prometheus) -> None:
    """Every metric of the dashboard and of the rules is exposed; those that nothing but the app divides have series.

    Others may have none yet, such as errors by where: nothing of the kind has happened.
    """
    asked = {name for expression in [*expressions(), *(rule["expr"] for rule in rules())] for name in names(expression)}
    described = Metrics().described
    assert asked - recorded() - {"up"} - prometheus.families() == set()
    assert {item.name for item in described} - prometheus.families() == set()
    every = "|".join({item.name for item in (*described, *FOREIGN) if {*item.labels} <= {"app"}} | recorded())
    found = {labels["__name__"] for labels, _ in prometheus.query(f'{{__name__=~"(?:{every})(?:_bucket)?"}}')}
    assert set(every.split("|")) - {name.removesuffix("_bucket") for name in found} == set()
