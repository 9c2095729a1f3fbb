"""Plots of the report, small SVG files. Without matplotlib there are none, and the report says the same in tables."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.figures import Row
from benchmarks.results import Result

_COLOURS = ("#3465a4", "#c17d11", "#4e9a06", "#75507b", "#cc0000")
_STYLES = ("-", "--")
_TIMES = ("s", "ms")  # units of what is drawn where there is neither a curve nor a comparison


def draw(result: Result, directory: Path) -> list[str]:
    """Draw what a result has to show; the names of the files."""
    if importlib.util.find_spec("matplotlib") is None:
        return []
    names = []
    if series := _series(result):
        names += [
            _save(_curves(unit, lines, result.servers), directory, f"{result.scenario}-{number}.svg")
            for number, (unit, lines) in enumerate(series.items(), 1)
        ]
    elif len(result.servers) > 1 and (rows := [row for row in result.rows if row.ratio(*result.servers[:2])]):
        names.append(_save(_ratios(rows, result.servers), directory, f"{result.scenario}.svg"))
    else:
        names += [
            _save(_times(unit, rows, result.servers[0]), directory, f"{result.scenario}-{unit}.svg")
            for unit in _TIMES
            if len(rows := [row for row in result.rows if row.unit == unit]) > 1
        ]
    return names


Points = dict[float, list[float]]


def _series(result: Result) -> Mapping[str, Mapping[tuple[str, str], Points]]:
    """Figures that belong to a curve: by unit, then by (name of the curve, server), the values at each place."""
    found: dict[str, dict[tuple[str, str], Points]] = {}
    for server, _, figure in result.figures:
        if figure.series:
            curve = found.setdefault(figure.unit, {}).setdefault((figure.series, server), {})
            curve.setdefault(figure.at, []).append(figure.value)
    return found


def _curves(unit: str, lines: Mapping[tuple[str, str], Points], servers: Sequence[str]) -> Any:
    figure, axes = _canvas(4.0)
    names = list(dict.fromkeys(name for name, _ in lines))
    for (name, server), points in lines.items():
        places = sorted(points)
        colour, style = _COLOURS[names.index(name) % len(_COLOURS)], _STYLES[servers.index(server) % len(_STYLES)]
        axes.plot(places, [median(points[at]) for at in places], style, marker=".", color=colour, label=f"{name}, {server}")
    axes.set_ylabel(unit)
    axes.set_ylim(bottom=0)
    axes.legend(fontsize="x-small", frameon=False)
    return figure


def _ratios(rows: Sequence[Row], servers: Sequence[str]) -> Any:
    """Bars of how many times as good ours is, with the goals marked."""
    figure, axes = _canvas(0.6 + 0.32 * len(rows))
    for place, row in enumerate(reversed(rows)):
        ratio = row.ratio(*servers[:2]) or 0.0
        axes.barh(place, ratio, color=_COLOURS[0] if ratio >= 1 else _COLOURS[4])
        if row.goal and row.goal.ratio:
            axes.plot([row.goal.ratio] * 2, [place - 0.45, place + 0.45], color="black", linewidth=2)
    axes.set_yticks(range(len(rows)), [row.line for row in reversed(rows)])
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_xlabel(f"{servers[0]} as good as {servers[1]}, times (black: the goal)")
    return figure


def _times(unit: str, rows: Sequence[Row], server: str) -> Any:
    """Bars of medians, with the range of all runs."""
    figure, axes = _canvas(0.6 + 0.32 * len(rows))
    for place, row in enumerate(reversed(rows)):
        runs, middle = row.values[server], row.median(server) or 0.0
        axes.barh(place, middle, color=_COLOURS[0])
        axes.plot([min(runs), max(runs)], [place] * 2, color="black", linewidth=1, marker="|")
    axes.set_yticks(range(len(rows)), [row.line for row in reversed(rows)])
    axes.set_xlabel(f"{unit} (black: from the best to the worst run)")
    return figure


def _canvas(height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure as Canvas  # noqa: PLC0415 - heavy, and not always there

    figure = Canvas(figsize=(8, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="both", alpha=0.25)
    return figure, axes


def _save(figure: Any, directory: Path, name: str) -> str:
    figure.savefig(directory / name, metadata={"Date": None})
    return name
