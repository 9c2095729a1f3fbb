"""Whether an object is what its kind allows: by Kubernetes' own schemas, strictly, or by what is written here.

The custom kinds are here as far as the chart uses them. A field stands here because it is in the upstream definition of its
kind; `...` stands for anything below.
"""

import json
from functools import cache
from types import EllipsisType
from typing import Any, Union

import kubernetes_validate

kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)  # 1.5 MB of JSON each time

Shape = dict[str, Union["Shape", EllipsisType, type]]

_METADATA: Shape = {"name": str, "namespace": str, "labels": ..., "annotations": ...}
_RULE: Shape = {"record": str, "alert": str, "expr": str, "for": str, "labels": ..., "annotations": ...}
_PARENT: Shape = {"name": str, "namespace": str, "sectionName": str, "group": str, "kind": str, "port": int}

_SPECS: dict[str, Shape] = {
    "PodMonitor": {"selector": {"matchLabels": ...}, "podMetricsEndpoints": {"port": str, "path": str, "interval": str}},
    "PrometheusRule": {"groups": {"name": str, "interval": str, "rules": _RULE}},
    "ScaledObject": {
        "scaleTargetRef": {"apiVersion": str, "kind": str, "name": str},
        "minReplicaCount": int,
        "maxReplicaCount": int,
        "pollingInterval": int,
        "fallback": {"failureThreshold": int, "replicas": int},
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": ...}},
        "triggers": {"type": str, "metricType": str, "metadata": ..., "authenticationRef": {"name": str, "kind": str}},
    },
    "HTTPRoute": {
        "parentRefs": _PARENT,
        "hostnames": str,
        "rules": {
            "matches": {"path": {"type": str, "value": str}},
            "filters": ...,
            "backendRefs": {"name": str, "port": int},
            "timeouts": {"request": str, "backendRequest": str},
        },
    },
}


def problem(item: dict[str, Any], version: str) -> str:
    """What is wrong with an object in this version of Kubernetes, or nothing."""
    if item["kind"] in _SPECS:
        shape: Shape = {"apiVersion": str, "kind": str, "metadata": _METADATA, "spec": _SPECS[item["kind"]]}
        return "; ".join(_problems(item, shape, ""))
    return _built_in_problem(json.dumps(item, sort_keys=True), version)


@cache
def _built_in_problem(text: str, version: str) -> str:
    """The same for a built-in kind; the same object comes from many fixtures."""
    try:
        kubernetes_validate.validate(json.loads(text), version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{error.json_path}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        return str(error.message)
    return ""


def _problems(value: Any, shape: Shape | EllipsisType | type, path: str) -> list[str]:
    if isinstance(value, list):
        return [text for item in value for text in _problems(item, shape, f"{path}[]")]
    if isinstance(shape, EllipsisType):
        return []
    if isinstance(shape, type):
        return [] if type(value) is shape else [f"{path}: expected {shape.__name__}, got {value!r}"]
    if not isinstance(value, dict):
        return [f"{path}: expected an object, got {value!r}"]
    unknown = [f"{path}.{name}: there is no such field" for name in sorted(value.keys() - shape.keys())]
    known = sorted(value.keys() & shape.keys())
    return unknown + [text for name in known for text in _problems(value[name], shape[name], f"{path}.{name}")]
