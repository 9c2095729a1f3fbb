"""Helm takes a release through its life, against an API server that is a stub: see `api_server` for what it is not."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chart.api_server import Cluster, running_cluster
from tests.chart.helm import CHART, FIXTURES, RenderError, fixture, helm


@pytest.fixture
def cluster() -> Iterator[tuple[Cluster, Any]]:
    """A cluster with all operators, and Helm's connection to it, with the releases in memory."""
    with running_cluster() as (state, url), connection(url) as config:
        yield state, config


def connection(url: str) -> Any:
    """Helm's connection to a cluster."""
    return helm.Config(kube_apiserver=url, namespace="chat", storage_driver="memory", burst_limit=1000, qps=1000)


def statuses(config: Any) -> list[str]:
    """The state of each revision, in order."""
    return [release["status"] for release in config.history("demo")]


def test_release_is_installed_upgraded_rolled_back_and_leaves_nothing(cluster: tuple[Cluster, Any]) -> None:
    """A bad upgrade is refused and changes nothing."""
    state, config = cluster
    config.install(CHART, "demo", {"replicas": 3}, namespace="chat")
    installed = copy.deepcopy(state.objects)
    assert state.one("Deployment", "demo-usher")["spec"]["replicas"] == 3
    with pytest.raises(RenderError, match="replicas"):
        config.upgrade(CHART, "demo", {"replicas": "many"}, namespace="chat")
    with pytest.raises(RenderError, match=r"nats\.mode"):
        config.upgrade(CHART, "demo", {"nats": {"mode": "none"}}, namespace="chat")
    assert state.objects == installed
    config.upgrade(
        CHART, "demo", {"replicas": 5, "ingress": {"enabled": True, "hosts": [{"host": "a.example"}]}}, namespace="chat"
    )
    assert state.one("Deployment", "demo-usher")["spec"]["replicas"] == 5
    assert "Ingress/demo-usher" in state.names
    config.rollback("demo", version=1)
    assert state.one("Deployment", "demo-usher")["spec"]["replicas"] == 3
    assert "Ingress/demo-usher" not in state.names
    assert statuses(config) == ["superseded", "superseded", "deployed"]
    config.uninstall("demo")
    assert state.names == set()


def test_generated_secrets_stay_when_the_release_is_upgraded(cluster: tuple[Cluster, Any]) -> None:
    """Clients keep their key, and neither NATS nor a node is restarted for a new password."""
    state, config = cluster
    config.install(CHART, "demo", {}, namespace="chat")
    before = copy.deepcopy(state.objects)
    config.upgrade(CHART, "demo", {"replicas": 4}, namespace="chat")
    for kind, name in (("Secret", "demo-usher-apps"), ("Secret", "demo-usher-nats-auth")):
        (old,) = [item for place, item in before.items() if (place.kind, place.name) == (kind, name)]
        assert state.one(kind, name)["data"] == old["data"]
    for place, item in before.items():
        if place.kind in ("Deployment", "StatefulSet"):
            assert state.objects[place]["spec"]["template"] == item["spec"]["template"]


def test_generated_app_goes_when_the_values_name_apps(cluster: tuple[Cluster, Any]) -> None:
    """Nothing of it is left in the Secret."""
    state, config = cluster
    config.install(CHART, "demo", {}, namespace="chat")
    config.upgrade(CHART, "demo", {"apps": {"list": [{"id": "2", "key": "k", "secret": "s"}]}}, namespace="chat")
    assert set(state.one("Secret", "demo-usher-apps")["data"]) == {"apps.toml"}


def test_number_of_nodes_stays_when_something_else_decides_it(cluster: tuple[Cluster, Any]) -> None:
    """Neither the upgrade that turns autoscaling on nor a later one sends everybody to a single node."""
    state, config = cluster
    config.install(CHART, "demo", {"replicas": 3}, namespace="chat")
    scaled = {"autoscaling": {"mode": "hpa"}}
    config.upgrade(CHART, "demo", scaled, namespace="chat")
    deployment = state.one("Deployment", "demo-usher")
    assert deployment["spec"]["replicas"] == 3
    deployment["spec"]["replicas"] = 9  # as its autoscaler writes it
    config.upgrade(CHART, "demo", scaled | {"config": {"log": {"level": "debug"}}}, namespace="chat")
    assert state.one("Deployment", "demo-usher")["spec"]["replicas"] == 9


@pytest.mark.parametrize("name", FIXTURES)
def test_every_fixture_is_installed_becomes_the_default_and_is_uninstalled(name: str, cluster: tuple[Cluster, Any]) -> None:
    """From whatever values to none: no immutable field is in the way."""
    state, config = cluster
    values = fixture(name)
    config.install(CHART, "demo", values, namespace="chat")
    config.upgrade(
        CHART, "demo", {key: values[key] for key in ("nameOverride", "fullnameOverride") if key in values}, namespace="chat"
    )
    config.uninstall("demo")
    assert state.names == set()


def test_release_is_installed_where_no_operator_is() -> None:
    """The oldest Kubernetes, and nothing but it."""
    with running_cluster("1.27", operators=False) as (state, url), connection(url) as config:
        config.install(CHART, "demo", {}, namespace="chat")
        assert "PodMonitor/demo-usher" not in state.names
        assert "exec" in str(state.one("Deployment", "demo-usher")["spec"]["template"]["spec"]["containers"][0]["lifecycle"])


def test_chart_with_a_field_that_kubernetes_does_not_know_is_refused(cluster: tuple[Cluster, Any], tmp_path: Path) -> None:
    """Which shows that the stub looks."""
    state, config = cluster
    helm.Chart.load(CHART).save_dir(tmp_path)
    path = tmp_path / "usher" / "templates" / "deployment.yaml"
    path.write_text(path.read_text().replace("  minReadySeconds:", "  minReadySecondz:"))
    with pytest.raises(RenderError, match="minReadySecondz"):
        config.install(tmp_path / "usher", "demo", {}, namespace="chat")
    assert "Deployment/demo-usher" not in state.names


def test_helm_test_runs_the_check_and_removes_it(cluster: tuple[Cluster, Any]) -> None:
    """Its pod is none of the release, and goes when it has succeeded."""
    state, config = cluster
    config.install(CHART, "demo", {}, namespace="chat")
    before = state.names
    config.test("demo")
    assert state.names == before
