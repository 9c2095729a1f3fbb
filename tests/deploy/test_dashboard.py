"""The Grafana dashboard: made from this code, whole, and such as Grafana and Prometheus understand."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.dashboard import PATHS, dashboard, expressions, text
from deploy.panels import FOREIGN, shown
from node.metrics import Metrics
from tests.deploy.promql import names

PROMTOOL = shutil.which("promtool")
OF_PROMETHEUS = {"titleFormat", "step"}
"""Keys of annotations that Grafana hands to the Prometheus data source, and so does not know itself."""


def panels() -> list[dict[str, Any]]:
    """All panels, without the headings."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def lost(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """What is not the same after Grafana's types have read it."""
    match ours, theirs:
        case dict(), dict():
            for key in ours.keys() - OF_PROMETHEUS:
                yield from lost(ours[key], theirs.get(key), f"{path}.{key}")
        case list(), list() if len(ours) == len(theirs):
            for number, (our, their) in enumerate(zip(ours, theirs, strict=True)):
                yield from lost(our, their, f"{path}[{number}]")
        case _ if ours != theirs:
            yield f"{path}: {ours!r} became {theirs!r}"


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    """Whether two places share a cell."""
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def test_dashboard_is_that_of_this_code() -> None:
    """After a change to metrics or panels: `python -m deploy.dashboard`."""
    assert [path for path in PATHS if path.read_text() != text()] == []


def test_every_metric_of_the_node_is_on_a_panel() -> None:
    """A metric nobody sees is counted in vain: give it a line in deploy/panels.py."""
    assert [item.name for item in Metrics().described if item.name not in set(shown())] == []


def test_every_panel_asks_for_metrics_that_there_are() -> None:
    """A panel of a metric that was renamed is empty for ever."""
    known = {item.name for item in (*Metrics().described, *FOREIGN)}
    asked = {name for expression in expressions() for name in names(expression)}
    assert asked == set(shown())
    assert asked - known == set()


def test_dashboard_is_one_by_the_types_of_grafana() -> None:
    """No key is unknown to them: all of it survives being read and written."""
    theirs = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard())))
    assert list(lost(dashboard(), theirs)) == []


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    """Grafana moves those that do, each time it opens."""
    everything = dashboard()["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    places = [panel["gridPos"] for panel in everything]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert [pair for pair in combinations(places, 2) if overlap(*pair)] == []


def test_panels_have_a_title_a_unit_a_description_and_a_question() -> None:
    """The description is the metric's own sentence."""
    for panel in panels():
        assert panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["description"].endswith(".")
        assert panel["targets"]


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed")
def test_panels_ask_in_the_language_of_prometheus(tmp_path: Path) -> None:
    """Promtool parses each expression, as if it were a rule."""
    asked = [expression.replace("$__rate_interval", "5m") for expression in expressions()]
    asked += [item["expr"] for item in dashboard()["annotations"]["list"]]
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(asked)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    ran = subprocess.run([str(PROMTOOL), "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
