"""A release over its life: what stays when it is upgraded, what is packaged, and how it is used by other charts."""

import copy
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.helm import CHART, FIXTURES, OPERATORS, Object, Rendering, fixture, helm, render

IMMUTABLE = {
    "Deployment": ("selector",),
    "StatefulSet": ("selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"),
    "Service": ("clusterIP",),
}
"""Fields of specs that Kubernetes does not let anybody change."""

SETTLED: Object = {
    "apps": {"list": [{"id": "1", "key": "k", "secret": "s"}]},
    "nats": {"bundled": {"existingSecret": "login"}},
}
"""Values that leave nothing to chance."""


def immutable(release: Rendering) -> dict[tuple[str, str], Any]:
    """What may not change, by kind and name."""
    return {
        (item["kind"], item["metadata"]["name"]): {field: item["spec"].get(field) for field in IMMUTABLE[item["kind"]]}
        for item in release.objects
        if item["kind"] in IMMUTABLE
    }


def copied(directory: Path, **metadata: str) -> Path:
    """The chart in another place, with another Chart.yaml."""
    helm.Chart.load(CHART).save_dir(directory)
    chart = directory / "usher"
    text = yaml.safe_load((chart / "Chart.yaml").read_text()) | metadata
    (chart / "Chart.yaml").write_text(yaml.safe_dump(text))
    return chart


@pytest.mark.parametrize("name", FIXTURES)
def test_new_version_changes_nothing_that_cannot_be_changed(name: str, tmp_path: Path) -> None:
    """And a new version with the same image and values replaces no pod."""
    newer = copied(tmp_path, version="9.8.7")
    values = fixture(name)
    values.setdefault("nats", {}).setdefault("bundled", {}).setdefault("existingSecret", "login")
    before, after = render(values), render(values, chart=newer)
    assert immutable(before) == immutable(after)
    assert before.node["template"] == after.node["template"]
    assert {item["metadata"]["name"] for item in before.objects} == {item["metadata"]["name"] for item in after.objects}


def test_values_that_change_over_a_life_change_nothing_that_cannot_be_changed() -> None:
    """More nodes, more labels, another image, other settings: none of it is in a selector."""
    later = {
        "replicas": 7,
        "commonLabels": {"team": "chat"},
        "podLabels": {"tier": "edge"},
        "image": {"tag": "9.8.7"},
        "config": {"drain": {"spread": 5}},
        "nats": {"bundled": {"replicas": 5, "podLabels": {"tier": "bus"}}},
    }
    assert immutable(render()) == immutable(render(later))


def test_rendering_is_the_same_each_time_when_nothing_is_generated() -> None:
    """As GitOps wants it."""
    assert render(SETTLED, apis=OPERATORS) == render(SETTLED, apis=OPERATORS)


def test_only_the_secrets_and_their_checksums_change_when_they_are_generated() -> None:
    """Without a cluster to read them from, they are new each time; NOTES say so."""
    first, second = render(), render()
    changing = {
        item["metadata"]["name"]
        for item, other in zip(first.objects, second.objects, strict=True)
        if json.dumps(item) != json.dumps(other)
    }
    assert changing == {"demo-usher", "demo-usher-apps", "demo-usher-nats", "demo-usher-nats-auth"}
    assert "apps.existingSecret" in first.notes
    assert "apps.existingSecret" not in render(SETTLED).notes


def test_nodes_and_nats_restart_together_when_the_password_is_another() -> None:
    """Both name it in a checksum, and it is that of the Secret of the same rendering."""
    release = render()
    node = release.node["template"]["metadata"]["annotations"]["checksum/nats-auth"]
    nats = release.one("StatefulSet")["spec"]["template"]["metadata"]["annotations"]["checksum/auth"]
    assert node == nats


@pytest.mark.parametrize("name", FIXTURES)
def test_package_renders_as_the_directory_does(name: str, tmp_path: Path) -> None:
    """Nothing that is needed is ignored."""
    values = fixture(name)
    values.setdefault("nats", {}).setdefault("bundled", {}).setdefault("existingSecret", "login")
    values.setdefault("apps", {"existingSecret": "apps"})
    package = Path(helm.chart.package(CHART, destination=tmp_path))
    assert render(values, apis=OPERATORS, chart=package) == render(values, apis=OPERATORS)
    names = {file["name"] for file in helm.Chart.load(package).files}
    assert {name for name in names if not name.startswith("files/")} <= {".helmignore", "README.md", "LICENSE"}


def test_chart_can_be_a_part_of_another(tmp_path: Path) -> None:
    """With a condition, with `global`, and under another name, twice."""
    parent = tmp_path / "parent"
    (parent / "charts").mkdir(parents=True)
    repository = f"file://{CHART}"
    ours = {"name": "usher", "version": "0.1.0", "repository": repository}
    parts = [ours | {"condition": "usher.enabled"}, ours | {"alias": "second"}]
    (parent / "Chart.yaml").write_text(
        yaml.safe_dump({"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": parts})
    )
    values = {"global": {"color": "red"}, "usher": {"enabled": True}, "second": {"nameOverride": "second"}}
    (parent / "values.yaml").write_text(yaml.safe_dump(values))
    helm.registry.dependency_update(parent)
    both = render(chart=parent)
    assert {item["metadata"]["name"] for item in both.of("Deployment")} == {"demo-usher", "demo-second"}
    one = render({"usher": {"enabled": False}}, chart=parent)
    assert {item["metadata"]["name"] for item in one.of("Deployment")} == {"demo-second"}


WARNINGS = [
    ({"replicas": 1}, "single node"),
    ({"nats": {"bundled": {"replicas": 1}}}, "single NATS server"),
    ({}, "image.repository"),
    ({"ingress": {"enabled": True, "hosts": [{"host": "ws.example.com"}]}}, "config.trust_forwarded"),
    ({"ingress": {"enabled": True, "hosts": [{"host": "ws.example.com"}]}}, "no TLS"),
    ({"monitoring": {"podMonitor": {"enabled": True}}}, "PodMonitor was asked for"),
    ({}, "Nothing scrapes"),
]


@pytest.mark.parametrize(("values", "text"), WARNINGS, ids=[text for _, text in WARNINGS])
def test_notes_warn_of_what_is_missing(values: Object, text: str) -> None:
    """What works, and will be regretted."""
    assert text in render(values).notes


def test_notes_have_nothing_to_warn_of_in_production() -> None:
    """And name what is next, with commands that fit."""
    notes = render(fixture("production"), apis=OPERATORS).notes
    assert "To look at" not in notes
    assert "helm -n chat test demo" in notes
    assert "ws.example.com" in notes


def test_chart_is_of_the_version_of_the_node() -> None:
    """The image's tag is the application's version."""
    project = tomllib.loads((CHART.parents[1] / "pyproject.toml").read_text())["project"]
    assert render().container["image"] == f"usher:{project['version']}"


CHECKS: list[tuple[Object, list[str]]] = [
    ({}, ["--url=http://demo-usher.chat.svc:80"]),
    ({"config": {"path_prefix": "/a"}, "service": {"port": 8080}}, ["--url=http://demo-usher.chat.svc:8080/a"]),
    ({"tls": {"existingSecret": "tls"}}, ["--url=https://demo-usher.chat.svc:80", "--insecure"]),
    (fixture("keda"), ["--url=https://ws.example.com/realtime", "--app=2"]),
]


@pytest.mark.parametrize(("values", "arguments"), CHECKS)
def test_helm_test_goes_where_clients_go(values: Object, arguments: list[str]) -> None:
    """Through the Service, or from outside where the values say so."""
    (container,) = render(values).one("Pod", "-test-sign-in")["spec"]["containers"]
    assert container["args"] == ["check", arguments[0], "--apps=/etc/usher/apps/apps.toml", *arguments[1:]]


def test_user_of_the_pods_can_be_left_to_the_platform() -> None:
    """A null takes a default away."""
    pod = render({"podSecurityContext": {"runAsUser": None, "runAsGroup": None}}).pod
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def test_extra_objects_are_rendered() -> None:
    """Both those that are objects and those that are texts."""
    release = render(fixture("extras"))
    assert release.one("ConfigMap", "demo-more")["data"] == {"who": "demo-realtime"}
    assert release.one("ConfigMap", "demo-text")


def test_values_are_not_changed_by_rendering() -> None:
    """The engine hands templates the values themselves."""
    values = fixture("apps")
    before = copy.deepcopy(values)
    render(values, apis=OPERATORS)
    assert values == before
