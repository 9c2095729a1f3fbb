"""Helm's engine, as a library: what `helm lint`, `helm template` and `helm package` do, without a helm binary.

Where there is no such library for the machine, the tests that import this file say so and are skipped.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

helm = pytest.importorskip("helm_python", reason="there is no helm-python-sdk for this machine")

CHART = Path(__file__).parents[2] / "k8s" / "usher"
FIXTURES = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
VERSIONS = ("1.27", "1.30", "1.34", "1.36")
OPERATORS = ("monitoring.coreos.com/v1", "keda.sh/v1alpha1", "gateway.networking.k8s.io/v1")

Object = dict[str, Any]
RenderError = helm.errors.HelmError


@dataclass(frozen=True, slots=True)
class Rendering:
    """What a release would consist of."""

    objects: tuple[Object, ...]
    notes: str

    def of(self, kind: str) -> list[Object]:
        """The objects of one kind."""
        return [item for item in self.objects if item["kind"] == kind]

    def one(self, kind: str, name_end: str = "") -> Object:
        """The only object of this kind whose name ends so."""
        (found,) = [item for item in self.of(kind) if item["metadata"]["name"].endswith(name_end)]
        return found

    @property
    def node(self) -> Object:
        """The Deployment's spec."""
        spec: Object = self.one("Deployment")["spec"]
        return spec

    @property
    def pod(self) -> Object:
        """The spec of a node's pod."""
        spec: Object = self.node["template"]["spec"]
        return spec

    @property
    def container(self) -> Object:
        """The node's container."""
        (container,) = [item for item in self.pod["containers"] if item["name"] == "node"]
        return dict(container)


def fixture(name: str) -> Object:
    """The values of one of the chart's fixtures."""
    values: Object = yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text())
    return values


@cache
def _chart(path: Path) -> Any:
    return helm.Chart.load(path)


def validate(values: Mapping[str, Any]) -> None:
    """Check values against the schema, without rendering. Raises `RenderError`."""
    _chart(CHART).validate_schema(dict(values))


def render(
    values: Mapping[str, Any] | None = None,
    *,
    version: str = "1.34",
    apis: Sequence[str] = (),
    name: str = "demo",
    namespace: str = "chat",
    chart: Path = CHART,
) -> Rendering:
    """Render the chart as `helm template` does. Raises `RenderError`, also for values that the schema refuses."""
    loaded = _chart(chart)
    loaded.validate_schema(dict(values or {}))
    options = {"name": name, "namespace": namespace, "kube_version": f"v{version}.0", "api_versions": list(apis)}
    # the public method cannot say which Kubernetes it is
    answer = helm._native.call_string("helm_render", loaded._raw(), json.dumps(values or {}), json.dumps(options))
    files: dict[str, str] = json.loads(answer)
    notes = "".join(text for path, text in files.items() if path.endswith("NOTES.txt"))
    return Rendering(tuple(_objects(files)), notes)


def _objects(files: Mapping[str, str]) -> Iterator[Object]:
    for path, text in sorted(files.items()):
        if path.endswith(".yaml"):
            yield from (item for item in yaml.load_all(text, UniqueKeys) if item)


class UniqueKeys(yaml.SafeLoader):
    """YAML in which no key comes twice in one map: the second would win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: D102 - PyYAML's
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key comes twice: {sorted(keys)} {node.start_mark}"
        return super().construct_mapping(node, deep)


def pods(rendering: Rendering) -> Iterator[tuple[str, Object]]:
    """Every pod that the objects make: a name for messages, and its spec."""
    for item in rendering.objects:
        match item["kind"]:
            case "Pod":
                yield f"Pod {item['metadata']['name']}", item["spec"]
            case "Deployment" | "StatefulSet":
                yield f"{item['kind']} {item['metadata']['name']}", item["spec"]["template"]["spec"]


def containers(pod: Object) -> list[Object]:
    """All containers of a pod, those before it too."""
    return [*pod.get("initContainers", []), *pod["containers"]]
