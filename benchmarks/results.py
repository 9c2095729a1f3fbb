"""Results on disk: one JSON file for each scenario, with what it was measured on. The report is made of these alone.

A scenario that is run again replaces its own file, so a full report can be gathered in several sessions.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import Better, Figure, Row, rows_of
from benchmarks.plan import Outcome
from benchmarks.scenarios.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Result:
    """A scenario, measured: every figure of every run, and why a server is missing from it."""

    scenario: str
    about: str
    limits: str
    servers: tuple[str, ...]
    """Ours first."""
    figures: tuple[tuple[str, int, Figure], ...]
    """Server, run, figure."""
    missing: tuple[str, ...]
    measured: Mapping[str, Any]
    """When, on what machine, with which versions and options."""

    @property
    def rows(self) -> list[Row]:
        """Its lines, over all runs."""
        return rows_of((server, figure) for server, _, figure in self.figures)


def collect(scenario: Scenario, servers: Sequence[str], outcomes: Sequence[Outcome], measured: Mapping[str, Any]) -> Result:
    """The result of a scenario's turns."""
    own = [outcome for outcome in outcomes if outcome.turn.scenario is scenario]
    missing = [f"{o.turn.server.name}, run {o.turn.run + 1}: {o.failure}" for o in own if o.failure]
    figures = tuple((o.turn.server.name, o.turn.run, figure) for o in own for figure in o.figures)
    return Result(scenario.name, scenario.about, scenario.limits, tuple(servers), figures, tuple(missing), measured)


def save(result: Result, directory: Path) -> None:
    """Write a result; an older one of the same scenario is replaced."""
    directory.mkdir(parents=True, exist_ok=True)
    document = {
        "scenario": result.scenario,
        "about": result.about,
        "limits": result.limits,
        "servers": result.servers,
        "measured": result.measured,
        "missing": result.missing,
        "figures": [{"server": server, "run": run, **_encode(figure)} for server, run, figure in result.figures],
    }
    text = json.dumps(document, indent=1, ensure_ascii=False)
    (directory / f"{result.scenario}.json").write_text(text + "\n")


def load(path: Path) -> Result:
    """Read what `save` wrote."""
    document = json.loads(path.read_text())
    figures = tuple((item["server"], item["run"], _decode(item)) for item in document["figures"])
    return Result(
        document["scenario"],
        document["about"],
        document["limits"],
        tuple(document["servers"]),
        figures,
        tuple(document["missing"]),
        document["measured"],
    )


def _encode(figure: Figure) -> dict[str, object]:
    return {
        "line": figure.line,
        "value": round(figure.value, 4),
        "unit": figure.unit,
        "better": figure.better.value,
        "series": figure.series,
        "at": figure.at,
        "detail": {name: round(value, 6) for name, value in figure.detail.items()},
    }


def _decode(item: Mapping[str, Any]) -> Figure:
    better = Better(item["better"])
    return Figure(item["line"], item["value"], item["unit"], better, item["detail"], item["series"], item["at"])
