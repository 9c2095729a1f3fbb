"""The schema of the values: it is strict, it describes everything, and what is written from it is current."""

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from k8s import reference
from k8s.schema import Schema
from tests.chart.helm import FIXTURES, RenderError, fixture, render, validate

SCHEMA: Schema = json.loads(reference.SCHEMA.read_text())
LEAVES = dict(reference.leaves(SCHEMA))
FREE = ("global", "affinity", "podSecurityContext", "securityContext")
"""Objects that are Kubernetes' own, and are passed on as they are."""


def nested(name: str, value: Any) -> dict[str, Any]:
    """Values with one dotted name set."""
    return functools.reduce(lambda inner, key: {key: inner}, reversed(name.split(".")), value)


def wrong_values(leaf: Schema) -> Iterator[Any]:
    """Values that a leaf must refuse: a wrong type, and what is just outside its range, pattern or choices."""
    kinds = leaf.get("type", [type(choice).__name__ for choice in leaf.get("enum", [])])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    yield ["wrong"] if "array" not in kinds else "wrong"
    if "string" not in kinds and "str" not in kinds:
        yield "wrong"
    if "boolean" not in kinds and "bool" not in kinds:
        yield True
    if "enum" in leaf or "pattern" in leaf:
        yield "no such: choice/ %"
    if "minimum" in leaf:
        yield leaf["minimum"] - 1
    if "exclusiveMinimum" in leaf:
        yield leaf["exclusiveMinimum"]
    if "maximum" in leaf:
        yield leaf["maximum"] + 1
    if leaf.get("minLength"):
        yield ""
    if "maxLength" in leaf:
        yield "x" * (leaf["maxLength"] + 1)


@pytest.mark.parametrize("name", LEAVES)
def test_schema_refuses_a_wrong_value(name: str) -> None:
    """Of every value there is; and takes its default."""
    leaf = LEAVES[name]
    if "default" in leaf:
        validate(nested(name, leaf["default"]))
    for wrong in wrong_values(leaf):
        with pytest.raises(RenderError, match=name.split(".", maxsplit=1)[0]):
            validate(nested(name, wrong))


def objects(schema: Schema, node: Schema, prefix: str = "") -> Iterator[str]:
    """The dotted name of every object with keys of its own."""
    yield prefix
    for name, child in node["properties"].items():
        inner = reference.resolved(schema, child)
        if "properties" in inner:
            yield from objects(schema, inner, f"{prefix}.{name}".strip("."))


@pytest.mark.parametrize("name", list(objects(SCHEMA, SCHEMA)))
def test_schema_refuses_a_key_that_nobody_knows(name: str) -> None:
    """A typing error is an error, wherever it is."""
    with pytest.raises(RenderError, match="nonsense"):
        validate(nested(f"{name}.nonsense".strip("."), 1))


@pytest.mark.parametrize(
    "wrong", [{"id": "1", "key": "k"}, {"id": "1", "key": "k", "secret": "a", "secrets": ["b"]}, {"key": "k", "secret": "s"}]
)
def test_schema_refuses_an_app_that_no_node_would_take(wrong: dict[str, Any]) -> None:
    """One or the other way to name its secrets, and everything that is required."""
    with pytest.raises(RenderError, match="apps/list/0"):
        validate({"apps": {"list": [wrong]}})


def test_schema_takes_what_parent_charts_pass() -> None:
    """As a dependency, a chart is given these."""
    validate({"enabled": True, "global": {"anything": {"at": "all"}}})


@pytest.mark.parametrize("name", FIXTURES)
def test_schema_takes_every_fixture(name: str) -> None:
    """They are what users write."""
    validate(fixture(name))


def test_schema_describes_every_value() -> None:
    """With a sentence, and a default for all but those of the node's settings and of parent charts."""
    assert [name for name, leaf in LEAVES.items() if not leaf.get("description", "").endswith((".", "`"))] == []
    assert [name for name, leaf in LEAVES.items() if "default" not in leaf] == ["enabled", "global"]


def test_values_are_the_defaults_of_the_schema() -> None:
    """values.yaml names no value that the schema does not know."""
    values = yaml.safe_load(reference.VALUES.read_text())
    for name, leaf in LEAVES.items():
        stated = functools.reduce(lambda place, key: place.get(key, {}), name.split("."), values)
        if stated != {} and name not in FREE:
            assert stated == leaf["default"], name


@pytest.mark.parametrize("path", [reference.SCHEMA, reference.VALUES, reference.README], ids=lambda path: path.name)
def test_what_is_written_from_the_schema_and_the_code_is_current(path: Path) -> None:
    """`python -m k8s.reference` writes it anew."""
    texts: dict[Path, Callable[[], str]] = {
        reference.SCHEMA: reference.schema_text,
        reference.VALUES: lambda: reference.values_text(SCHEMA),
        reference.README: lambda: reference.readme_text(SCHEMA),
    }
    assert path.read_text() == texts[path]()


CONTRADICTIONS = [
    ({"nats": {"mode": "external"}}, "nats.external.servers"),
    ({"nats": {"mode": "none"}}, "nats.mode"),
    ({"nats": {"mode": "none"}, "replicas": 1, "autoscaling": {"mode": "hpa"}}, "nats.mode"),
    ({"nats": {"bundled": {"lameDuck": {"gracePeriodSeconds": 30}}}}, "nats.bundled.lameDuck.gracePeriodSeconds"),
    ({"ingress": {"enabled": True}}, "ingress.hosts"),
    ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs"),
    ({"autoscaling": {"mode": "keda"}}, "autoscaling.keda.serverAddress"),
    ({"autoscaling": {"maxReplicas": 1}}, "autoscaling.maxReplicas"),
    ({"strategy": {"maxSurge": "0%"}}, "strategy.maxSurge"),
]


@pytest.mark.parametrize(("values", "name"), CONTRADICTIONS, ids=[name for _, name in CONTRADICTIONS])
def test_rendering_fails_with_the_value_to_change_when_values_do_not_go_together(values: dict[str, Any], name: str) -> None:
    """What the schema cannot say is said in words."""
    with pytest.raises(RenderError, match=f"{name}: "):
        render(values)
