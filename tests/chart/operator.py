"""What the Prometheus operator does for a release, without a cluster: a scrape configuration from a PodMonitor.

Prometheus itself chooses the targets, by the rules that the operator writes, among all ports of all pods. Only who tells it
of these is different: the test does, in the labels that Prometheus' own discovery gives them.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from tests.chart.helm import Object
from tests.chart.pods import Pod

_META = "__meta_kubernetes"


def scraped(monitor: Object, pods: Iterable[Pod]) -> list[Object]:
    """The scrape configurations of a PodMonitor: one for each endpoint."""
    name, namespace = monitor["metadata"]["name"], monitor["metadata"]["namespace"]
    found = list(_discovered(namespace, pods))
    return [
        {
            "job_name": f"podMonitor/{namespace}/{name}/{number}",
            "scrape_interval": endpoint["interval"],
            "metrics_path": endpoint["path"],
            "relabel_configs": [*_kept(monitor["spec"]["selector"], endpoint), *_labels(f"{namespace}/{name}", endpoint)],
            "static_configs": found,
        }
        for number, endpoint in enumerate(monitor["spec"]["podMetricsEndpoints"])
    ]


def _discovered(namespace: str, pods: Iterable[Pod]) -> Iterator[Object]:
    """Each port of each pod, with what is known of it."""
    for pod in pods:
        about = {f"{_META}_pod_label_{_label(key)}": value for key, value in pod.labels.items()}
        for port in pod.container["ports"]:
            more = {
                f"{_META}_namespace": namespace,
                f"{_META}_pod_name": pod.name,
                f"{_META}_pod_container_name": pod.container["name"],
                f"{_META}_pod_container_port_name": port["name"],
            }
            yield {"targets": [f"{pod.address}:{port['containerPort']}"], "labels": about | more}


def _kept(selector: Object, endpoint: Object) -> Iterator[dict[str, Any]]:
    """Which targets are the monitor's: all labels of its selector, and the endpoint's port."""
    assert set(selector) == {"matchLabels"}
    for key, value in selector["matchLabels"].items():
        yield {"action": "keep", "source_labels": [f"{_META}_pod_label_{_label(key)}"], "regex": re.escape(value)}
    yield {"action": "keep", "source_labels": [f"{_META}_pod_container_port_name"], "regex": endpoint["port"]}


def _labels(job: str, endpoint: Object) -> Iterator[dict[str, Any]]:
    """What every series of a target is told apart by."""
    for label, source in (("namespace", "namespace"), ("pod", "pod_name"), ("container", "pod_container_name")):
        yield {"source_labels": [f"{_META}_{source}"], "target_label": label}
    yield {"target_label": "job", "replacement": job}
    yield {"target_label": "endpoint", "replacement": endpoint["port"]}


def _label(key: str) -> str:
    """A label's key as Prometheus writes it."""
    return re.sub(r"\W", "_", key)
