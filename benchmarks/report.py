"""The report: a Markdown page with plots, made of the results in a directory; `--report` makes it anew."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks import plots, scenarios
from benchmarks.figures import Row
from benchmarks.results import Result, load

_PAGE = "README.md"


def write_report(directory: Path) -> Path:
    """Write the page and its plots from every result there; return the page's path."""
    found = {path.stem: load(path) for path in sorted(directory.glob("*.json"))}
    results = [found[scenario.name] for scenario in scenarios.ALL if scenario.name in found]
    page = directory / _PAGE
    page.write_text("\n".join(_lines(results, directory)) + "\n")
    return page


def _lines(results: Sequence[Result], directory: Path) -> Iterator[str]:
    yield "# Benchmark results"
    yield ""
    yield "Made by `python -m benchmarks`; [what each line means](../README.md). Figures are medians of all runs, with the"
    yield "range in brackets; those per CPU-second count the CPU time of all nodes together, and of no other process."
    yield "Where the ranges of two servers overlap, their difference may be noise."
    for result in results:
        yield from _section(result, directory)


def _section(result: Result, directory: Path) -> Iterator[str]:
    yield from ("", f"## {result.scenario}", "", result.about, "")
    yield from _table(result)
    for reason in result.missing:
        yield from ("", f"Failed: {reason}")
    for name in plots.draw(result, directory):
        yield from ("", f"![{result.scenario}]({name})")
    if result.limits:
        yield from ("", f"**What limits it.** {result.limits}")
    yield from ("", f"<sub>{_describe(result.measured)}</sub>")


def _table(result: Result) -> Iterator[str]:
    compared = len(result.servers) > 1
    verdicts = [row.verdict(*result.servers[:2]) for row in result.rows]
    names = (*result.servers, *(["ratio"] if compared else []), *(["goal"] if any(verdicts) else []))
    yield f"| line | unit | {' | '.join(names)} |"
    yield f"|---|---|{'---:|' * len(names)}"
    for row, verdict in zip(result.rows, verdicts, strict=True):
        cells = [_cell(row, server) for server in result.servers]
        if compared:
            ratio = row.ratio(*result.servers[:2])
            cells.append("" if ratio is None else f"{ratio:.2f}")
        if any(verdicts):
            cells.append(verdict)
        yield f"| {row.line} | {row.unit} | {' | '.join(cells)} |"


def _cell(row: Row, server: str) -> str:
    value = row.median(server)
    if value is None:
        return "-"
    runs = row.values[server]
    spread = f" <sub>[{show(min(runs))} to {show(max(runs))}]</sub>" if len(runs) > 1 else ""
    return f"**{show(value)}**{spread}"


def show(value: float) -> str:
    """A figure with as many digits as mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _describe(measured: Mapping[str, object]) -> str:
    parts = [f"Measured {measured['when']}"]
    for name in ("machine", "versions", "options"):
        values = measured.get(name)
        if isinstance(values, Mapping):
            parts.append(", ".join(f"{key} {value}" for key, value in values.items()))
    return ". ".join(parts) + "."
