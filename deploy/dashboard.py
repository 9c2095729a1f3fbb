"""The Grafana dashboard, made from `deploy/panels.py` and the metrics in the code: `python -m deploy.dashboard`.

Rules for whoever edits this file: the same code gives the same bytes, so that a diff of the JSON shows what changed; only
what Grafana 10 and later understand; every query goes through the variables job, instance and, where the metric has that
label, app.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from deploy.panels import FOREIGN, ROWS, Panel, Row
from node.metrics import Description, Metrics

ROOT: Final = Path(__file__).parents[1]
PATHS: Final = (ROOT / "deploy" / "grafana" / "usher.json", ROOT / "k8s" / "usher" / "files" / "usher.json")
"""The dashboard, and the chart's copy: a chart can only use files of its own."""

_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH: Final = 24
_SIZES: Final = {"timeseries": (8, 8), "stat": (4, 4)}
_QUANTILES: Final = (0.5, 0.99)
_UNITS: Final = {"_seconds": "s", "_bytes": "bytes", "_total": "ops"}


def dashboard() -> dict[str, Any]:
    """The whole dashboard, as Grafana imports it."""
    return {
        "uid": "usher",
        "title": "Usher",
        "description": "Connections, users and the bus of an Usher cluster. Generated: edit deploy/panels.py.",
        "tags": ["usher"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": list(_variables())},
        "annotations": {"list": list(_annotations())},
        "panels": list(_panels()),
    }


def main() -> None:
    """Write the dashboard anew."""
    for path in PATHS:
        path.write_text(text())


def text() -> str:
    """The dashboard as it stands in the file."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


def expressions() -> Iterator[str]:
    """Every query of every panel, with Grafana's variables in it."""
    for row in ROWS:
        for panel in row.panels:
            yield from (expr for expr, _ in _queries(panel))


@cache
def _described() -> Mapping[str, Description]:
    return {item.name: item for item in (*Metrics().described, *FOREIGN)}


# -- queries --------------------------------------------------------------------------------------------------------


def _queries(panel: Panel) -> Iterator[tuple[str, str]]:
    """The (expression, legend) of each line of a panel."""
    for name in panel.metrics:
        metric = _described()[name]
        by = _labels(metric) if panel.by is None else panel.by
        prefix = name.removeprefix("usher_").removesuffix("_total") if len(panel.metrics) > 1 else ""
        legend = " ".join([prefix, *(f"{{{{{label}}}}}" for label in by)]).strip()
        yield from _lines(metric, by, legend)


def _labels(metric: Description) -> tuple[str, ...]:
    """What a metric is told apart by, unless its panel says otherwise; two quantiles of each node would be a thicket."""
    return metric.labels or (() if metric.kind == "histogram" else ("instance",))


def _lines(metric: Description, by: Sequence[str], legend: str) -> Iterator[tuple[str, str]]:
    """What is asked of a metric: a gauge's sum, a counter's rate, a histogram's quantiles."""
    match metric.kind:
        case "gauge":
            yield f"{_sum(by)} ({_selected(metric)})", legend
        case "counter":
            yield f"{_sum(by)} (rate({_selected(metric)}[$__rate_interval]))", legend
        case "histogram":
            rate = f"{_sum(('le', *by))} (rate({_selected(metric, '_bucket')}[$__rate_interval]))"
            for quantile in _QUANTILES:
                yield f"histogram_quantile({quantile}, {rate})", f"p{quantile * 100:g} {legend}"
        case other:
            raise ValueError(f"{metric.name} is of kind {other!r}: gauge, counter and histogram have queries")


def _sum(by: Sequence[str]) -> str:
    return f"sum by ({', '.join(by)})" if by else "sum"


def _selected(metric: Description, suffix: str = "") -> str:
    labels = ("job", "instance", *(("app",) if "app" in metric.labels else ()))
    matchers = ", ".join(f'{label}=~"${label}"' for label in labels)
    return f"{metric.name}{suffix}{{{matchers}}}"


# -- panels ---------------------------------------------------------------------------------------------------------


def _panels() -> Iterator[dict[str, Any]]:
    """Headings and panels with their places and numbers."""
    top, number = 0, 0
    for row in ROWS:
        number += 1
        yield _heading(row, number, top)
        top, left = top + 1, 0
        for panel in row.panels:
            number += 1
            width, height = _SIZES[panel.shape]
            if left + width > _WIDTH:
                top, left = top + height, 0
            yield _panel(panel, number, {"x": left, "y": top, "w": width, "h": height})
            left += width
        top += _SIZES[row.panels[-1].shape][1]


def _heading(row: Row, number: int, top: int) -> dict[str, Any]:
    place = {"x": 0, "y": top, "w": _WIDTH, "h": 1}
    return {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(panel: Panel, number: int, place: Mapping[str, int]) -> dict[str, Any]:
    queries = zip("ABCDEFGH", _queries(panel), strict=False)
    return {
        "id": number,
        "type": panel.shape,
        "title": panel.title,
        "description": " ".join(_described()[name].text for name in panel.metrics),
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit or _unit(panel), **_look(panel)}, "overrides": []},
        "options": _options(panel),
        "targets": [
            {"refId": letter, "datasource": _SOURCE, "expr": expr, "legendFormat": legend}
            for letter, (expr, legend) in queries
        ],
    }


def _unit(panel: Panel) -> str:
    return next((unit for suffix, unit in _UNITS.items() if panel.metrics[0].endswith(suffix)), "short")


def _look(panel: Panel) -> dict[str, Any]:
    if panel.shape == "stat":
        return {"color": {"mode": "fixed", "fixedColor": "text"}}
    return {"min": 0, "custom": {"drawStyle": "line", "fillOpacity": 8, "lineWidth": 1, "showPoints": "never"}}


def _options(panel: Panel) -> dict[str, Any]:
    if panel.shape == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "graphMode": "area"}
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
    return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}


# -- what stands around the panels ----------------------------------------------------------------------------------


def _variables() -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {}}
    yield _variable("job", "label_values(usher_bus_connected, job)")
    yield _variable("instance", 'label_values(usher_bus_connected{job=~"$job"}, instance)')
    yield _variable("app", 'label_values(usher_connections{job=~"$job"}, app)')


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _annotations() -> Iterator[dict[str, Any]]:
    yield _annotation("Alerts", "red", 'ALERTS{alertname=~"Usher.*", alertstate="firing"}', "{{alertname}} {{instance}}")
    yield _annotation("Drains", "blue", 'usher_draining{job=~"$job", instance=~"$instance"} == 1', "{{instance}} leaves")


def _annotation(name: str, colour: str, expr: str, title: str) -> dict[str, Any]:
    return {
        "name": name,
        "enable": True,
        "iconColor": colour,
        "datasource": _SOURCE,
        "expr": expr,
        "titleFormat": title,
        "step": "30s",
    }


if __name__ == "__main__":
    main()
