"""What `helm lint --strict` and Kubernetes' own schemas say of the chart, for every fixture and version."""

import pytest

from tests.chart.helm import CHART, FIXTURES, OPERATORS, VERSIONS, fixture, helm, render
from tests.chart.kinds import problem

_INFO = 1


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", FIXTURES)
def test_chart_passes_the_strict_linter(name: str, version: str) -> None:
    """Not even a remark."""
    result = helm.chart.lint(CHART, values=fixture(name), strict=True, kube_version=f"v{version}.0")
    assert [message for message in result["messages"] if message["severity"] >= _INFO] == []


@pytest.mark.parametrize("apis", [(), OPERATORS], ids=["bare", "operators"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", FIXTURES)
def test_objects_are_what_kubernetes_takes(name: str, version: str, apis: tuple[str, ...]) -> None:
    """No unknown field, no wrong type, in any version."""
    objects = render(fixture(name), version=version, apis=apis).objects
    found = {f"{item['kind']} {item['metadata']['name']}": problem(item, version) for item in objects}
    assert {what: text for what, text in found.items() if text} == {}
    assert len(found) == len(objects), "two objects with one name"


def test_chart_says_which_kubernetes_it_is_for() -> None:
    """The engine's library does not check it, Helm does."""
    assert helm.Chart.load(CHART).metadata["kubeVersion"] == ">=1.27.0-0"


def test_objects_of_operators_come_by_themselves_only_where_they_are_known() -> None:
    """`auto` asks the cluster."""
    kinds = {"PodMonitor", "PrometheusRule"}
    assert kinds & {item["kind"] for item in render().objects} == set()
    assert kinds & {item["kind"] for item in render(apis=OPERATORS).objects} == kinds
