"""A real Prometheus scrapes real nodes outside Kubernetes, with the rules of deploy/: these do without namespaces and pods.

What is counted, and that rules and dashboard ask for what there is, tests/chart/test_pods_scraped.py shows.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from node.metrics import Metrics
from tests.deploy.prometheus import Prometheus, hurried, job, needs_prometheus
from tests.deploy.promql import RULES, recorded
from tests.integration.support import APP, api, apps_toml, eventually, names, signed_in
from tests.processes import LOOPBACK, Processes

pytestmark = [needs_prometheus, pytest.mark.slow]

WAIT = "3s"


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
    server = Prometheus(processes.directory, hurried(RULES.read_text(), WAIT), job("usher", targets))
    processes.start(server)
    server.wait_ready()
    return server


async def test_prometheus_records_what_happens_and_tells_of_a_node_that_dies(
    processes: Processes, prometheus: Prometheus
) -> None:
    """Every rule records something; while all is well nothing fires; one SIGKILL raises one alert, on the node that died."""
    nodes = processes.nodes
    await prometheus.sees(3)
    async with trio.open_nursery() as nursery:
        for number, node in enumerate(nodes):
            await signed_in(nursery, node, names(f"user-{number}-", 2))
        await prometheus.becomes("job:usher_connections:sum", 6)
        async with api(nodes[1]) as backend:
            assert (await backend.send_to_user("user-0-0", "hello", "")).status == 200
            await prometheus.becomes('sum(usher_api_requests_total{status="200"})', 1)
            assert (await backend.send_to_user("user-0-0", "hello", "")).status == 200
        await prometheus.becomes("job:usher_api_failures:ratio_rate5m", 0)  # a rate needs two scrapes
        assert recorded() - prometheus.series() == set()
        assert {item.name for item in Metrics().described} - prometheus.families() == set()
        assert await prometheus.fired() == set()
        nodes[2].kill()
        down = {("UsherNodeDown", f"{LOOPBACK}:{nodes[2].ops_port}")}
        await eventually(lambda: prometheus.firing() == down, "the alert fires")
        await prometheus.becomes("job:usher_connections:sum", 4)
        assert prometheus.firing() == down
        nursery.cancel_scope.cancel()
