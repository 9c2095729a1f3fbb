"""A real Prometheus scrapes the rendered pods, as the rendered PodMonitor says, with the rendered rules.

Nothing of what is rendered is changed: that scrapes and alerts hurry, the chart's own values say.
"""

import json
import re
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
import trio
import yaml

from tests.api_client import ApiClient
from tests.chart import volumes
from tests.chart.helm import CHART, OPERATORS, Object, Rendering, render
from tests.chart.machine import Machine, running_release
from tests.chart.operator import scraped
from tests.chart.traffic import TERMINATED, USERS, counts, drive
from tests.deploy.prometheus import INTERVAL, Prometheus, needs_prometheus
from tests.deploy.promql import names
from tests.integration.support import APP, eventually, ready

pytestmark = [
    needs_prometheus,
    pytest.mark.skipif(bool(volumes.why_not()), reason=volumes.why_not()),
    pytest.mark.slow,
]

VALUES: Object = {
    "apps": {"list": [{"id": APP.app_id, "key": APP.key, "secret": APP.secret, "client_events": True}]},
    "replicas": 3,
    "monitoring": {"podMonitor": {"interval": INTERVAL}, "prometheusRule": {"for": "3s"}},
}
STAY = USERS - TERMINATED
SILENT = {
    *("usher_oversteps_total", "usher_bus_unclaimed_total", "usher_drain_stage"),
    *("usher_webhook_events_total", "usher_webhook_events_dropped_total", "usher_webhook_requests_total"),
}
"""What is told apart by what happened, and of which nothing happens here: exposed, but without series."""


def rendered(**more: object) -> Rendering:
    """The release in a cluster that has the operators."""
    return render(VALUES | more, apis=OPERATORS)


@asynccontextmanager
async def scraped_release(directory: Path) -> AsyncIterator[tuple[Machine, Prometheus]]:
    """The release, ready, and its Prometheus. No node may have logged a problem at the end."""
    release = rendered()
    async with running_release(directory, release) as machine:
        rules = yaml.safe_dump(release.one("PrometheusRule")["spec"])
        prometheus = Prometheus(directory, rules, *scraped(release.one("PodMonitor"), machine.pods))
        prometheus.start()
        try:
            await ready(prometheus)
            await prometheus.sees(len(machine.nodes.pods))
            yield machine, prometheus
        finally:
            prometheus.stop()
    assert {pod.name: found for pod in machine.pods if (found := pod.process.log.problems())} == {}


async def test_prometheus_counts_what_happened_and_tells_of_a_pod_whose_machine_dies(tmp_path: Path) -> None:
    """While all is well nothing fires; one SIGKILL without a return raises one alert, with the pod's name."""
    async with scraped_release(tmp_path) as (machine, prometheus), trio.open_nursery() as nursery:
        async with aclosing(ApiClient(APP, machine.port)) as backend:
            clients = await drive(nursery, machine.port, backend)
            for question, answer in counts().items():
                await prometheus.becomes(question, answer)
            assert (await backend.send_to_user("user0", "again", "")).status == 200
        await prometheus.becomes("job:usher_api_failures:ratio_rate5m", 0)  # a rate needs two scrapes
        assert_targets_are_the_nodes(machine, prometheus)
        assert_everything_that_is_named_is_there(machine.release, prometheus)
        assert_scaling_sees_every_connection(machine, prometheus)
        assert await prometheus.fired() == set()
        victim = machine.nodes.pods[2]
        victim.lose_machine()
        down = {("UsherNodeDown", victim.name)}
        await eventually(lambda: prometheus.firing("pod") == down, "the alert fires")
        await prometheus.becomes("sum(usher_connections)", len([client for client in clients if not client.ended]))
        assert prometheus.firing("pod") == down
        nursery.cancel_scope.cancel()


async def test_prometheus_tells_of_a_pod_that_dies_again_and_again(tmp_path: Path) -> None:
    """It is started again each time; of the first two nothing is told, of the third that there were three."""
    async with scraped_release(tmp_path) as (machine, prometheus):
        victim = machine.nodes.pods[0]
        restarting = ("UsherRestarting", victim.name)
        for kills in range(3):
            await prometheus.becomes(f'changes(process_start_time_seconds{{pod="{victim.name}"}}[30m])', kills)
            assert restarting not in prometheus.firing("pod")
            victim.process.kill()
        await eventually(lambda: restarting in prometheus.firing("pod"), "the alert fires")


def assert_targets_are_the_nodes(machine: Machine, prometheus: Prometheus) -> None:
    """Not the NATS servers, not the port of the clients; and told apart as rules and dashboard expect."""
    found = [(labels["namespace"], labels["job"], labels["pod"]) for labels, _ in prometheus.query("up")]
    assert sorted(found) == sorted(("chat", "chat/demo-usher", pod.name) for pod in machine.nodes.pods)


# -- what is named is there -------------------------------------------------------------------------------------------


def assert_everything_that_is_named_is_there(release: Rendering, prometheus: Prometheus) -> None:
    """Rules and dashboard ask for what pods expose, in Prometheus' words, and each panel gets an answer."""
    rules = [rule for group in release.one("PrometheusRule")["spec"]["groups"] for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    assert recorded - prometheus.series() == set()
    dashboard = json.loads(release.one("ConfigMap", "-dashboard")["data"]["usher.json"])
    values = chosen(dashboard, prometheus)
    panels = [filled(target["expr"], values) for panel in dashboard["panels"] for target in panel.get("targets", [])]
    marks = [filled(annotation["expr"], values) for annotation in dashboard["annotations"]["list"]]
    there = prometheus.families() | recorded | {"up", "ALERTS"}
    for expression in (*(rule["expr"] for rule in rules), *panels, *marks):
        assert names(expression), expression
        assert names(expression) - there == set(), expression
        prometheus.query(expression)
    assert [panel for panel in panels if not names(panel) <= SILENT and not prometheus.query(panel)] == []


def chosen(dashboard: Object, prometheus: Prometheus) -> dict[str, str]:
    """The dashboard's variables, when all values of each are chosen."""
    values = {"__rate_interval": "1m"}
    for variable in dashboard["templating"]["list"][1:]:  # the first is the data source
        call = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
        assert call is not None, variable
        found = prometheus.ask(f"label/{call[2]}/values", **{"match[]": filled(call[1], values)})
        assert found, variable
        values[variable["name"]] = "|".join(found)
    return values


def filled(expression: str, values: dict[str, str]) -> str:
    """An expression of the dashboard as Grafana sends it."""
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], expression)


def assert_scaling_sees_every_connection(machine: Machine, prometheus: Prometheus) -> None:
    """KEDA's query, and the HPA's metric through the adapter's rule in the README, count what there is."""
    keda = rendered(autoscaling={"mode": "keda", "keda": {"serverAddress": prometheus.url}}).one("ScaledObject")
    assert prometheus.value(keda["spec"]["triggers"][0]["metadata"]["query"]) == STAY
    hpa = rendered(autoscaling={"mode": "hpa"}).one("HorizontalPodAutoscaler")
    metric = hpa["spec"]["metrics"][0]["pods"]["metric"]["name"]
    of_pods = prometheus.query(adapted(metric, [pod.name for pod in machine.nodes.pods], prometheus))
    assert {labels["pod"] for labels, _ in of_pods} == {pod.name for pod in machine.nodes.pods}
    assert sum(value for _, value in of_pods) == STAY


def adapted(metric: str, pods: list[str], prometheus: Prometheus) -> str:
    """What the adapter asks when the HPA wants a metric of these pods."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", (CHART.parent / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (rule,) = next(yaml.safe_load(block)["rules"] for block in blocks if "seriesQuery" in block)
    assert metric in {labels["__name__"] for labels, _ in prometheus.query(rule["seriesQuery"])}
    matchers = f'namespace="chat",pod=~"{"|".join(pods)}"'
    parts = {"<<.Series>>": metric, "<<.LabelMatchers>>": matchers, "<<.GroupBy>>": "pod"}
    return re.sub(r"<<.*?>>", lambda found: parts[found[0]], rule["metricsQuery"])
